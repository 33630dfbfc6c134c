/** What a user is told of a model whose type is not computed: why, and which models are. */

/** Of the types in transformers 5, those that are most used at the sizes that are trained here. */
const REASONS: readonly (readonly [reason: string, modelTypes: string])[] = [
  [
    'layers of it are state spaces, convolutions or linear attention',
    'bamba falcon_h1 falcon_mamba granitemoehybrid jamba lfm2 lfm2_moe lfm3 mamba mamba2 nemotron_h olmo_hybrid qwen3_5_text qwen3_next recurrent_gemma rwkv xlstm zamba zamba2',
  ],
  [
    'it is a mixture of experts (MoE), which its tokens choose from',
    'deepseek_v2 deepseek_v3 ernie4_5_moe glm4_moe gpt_oss granitemoe granitemoeshared hunyuan_v1_moe jetmoe llama4_text mixtral olmoe phimoe qwen2_moe qwen3_moe qwen3_5_moe_text',
  ],
  [
    'it reads images or sound beside text, and models of text alone are computed',
    'gemma3 gemma3n gemma4 idefics3 internvl lfm2_vl llama4 llava mistral3 mllama paligemma phi4_multimodal qwen2_5_vl qwen2_vl qwen3_5 qwen3_5_moe qwen3_vl smolvlm voxtral',
  ],
  [
    'it is no causal model of text',
    'albert bart bert deberta deberta-v2 distilbert electra modernbert mt5 roberta t5 t5gemma umt5 whisper xlm-roberta',
  ],
];

const NEAREST =
  'Qwen3 0.6B (qwen3), SmolLM2 135M (llama), Gemma 3 270M or 1B (gemma3_text), Granite 3.3 2B (granite), OLMo 2 1B (olmo2)';

/** @param computed the types that are */
export function whyUnsupported(modelType: string, computed: readonly string[]): string {
  const reason = REASONS.find(([, types]) => types.split(' ').includes(modelType))?.[0];
  const why = reason === undefined ? '' : `: ${reason}`;
  return `model_type ${JSON.stringify(modelType)} is not supported${why}; supported are ${computed.join(', ')}; take one of them, such as ${NEAREST}`;
}
