"""Makes test/golden/tokenizers: ids by the Python binding of the Rust tokenizers (made with tokenizers 0.23.2).

    node --import tsx test/golden/make/tokenizer-lines.ts | python test/golden/make/tokenizer_ids.py test/golden/tokenizers

components.json: component types and their options, each on the same texts. A case is the tokenizer.json of a base with other
parts; a part that is null in `parts` stands there as null, one in `without` is missing.
nasty-lines.json: for tokenizers of different kinds the first 4 bytes of sha-256 of the ids (little-endian 32-bit) of each line
that the command before the pipe writes.
"""
import base64
import hashlib
import itertools
import json
import struct
import sys

from tokenizers import Tokenizer, __version__

TEXTS = [
    "The film was good.",
    "  two  spaces\tand\nlines \r\n here  ",
    "don't, I'LL -- stop!!! (now) \u00abok\u00bb \u2014 a.b,c",
    "na\u00efve cafe\u0301 STRASSE stra\u00dfe \ufb01ne \u0130I \u03a3\u039f\u03a6\u039f\u03a3 \u03bb\u03cc\u03b3\u03bf\u03a3",
    "\u4f60\u597d\u4e16\u754c abc \u65e5\u672c\u8a9e\u30ab\u30ca",
    "12 345 3.14 \u0661\u0662 \u00bd \u00b2",
    "\U0001f44d\U0001f3fd \U0001f469\u200d\U0001f469 x\u00ady\ufeffz \u00a0\u3000\u2003.\x85\x07",
    "<s> a</s>b <mask>c x<mask> xmaskx mask  <mask>  good",
    "$1 $0 \\1 ^a$ a.c [x]",
    "",
    "\u2581already \u2581 \u0120 marked",
    "goodfilmwasgoodgood aaaa",
]
CHARACTERS = sorted({c for text in TEXTS[:3] + TEXTS[5:6] + TEXTS[7:9] + TEXTS[11:] for c in text if c.isascii() and not c.isspace()})
MERGES = ["t h", "th e", "a s", "w as", "g o", "o d", "go od", "f i", "l m", "fi lm", "a a", "aa aa", "1 2", "T h", "Th e", "m a", "s k", "ma sk",
          "\u2581 good", "\u2581 \u2581", "\u0120 good", "\u0120 \u0120"]


def vocabulary(*more):
    tokens = ["<unk>", "<s>", "</s>"]
    tokens += CHARACTERS + ["\u2581", "\u0120", "\u010a", "\u010d", "\u0109", "\u00c3", "\u00a9", "\u00a4", "\u00e9", "\u4f60"]
    tokens += [merge.replace(" ", "") for merge in MERGES] + list(more)
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = vocabulary(*BYTES)


def bpe(vocab=PIECES, merges=MERGES, **options):
    plain = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
                 fuse_unk=False, byte_fallback=False, ignore_merges=False)
    return {**plain, "vocab": vocab, "merges": merges, **options}


def affixed(prefix, suffix):
    """A BPE model whose inner pieces begin with `prefix`, and whose last ones end with `suffix`."""
    letters = "gofilmwas"
    tokens = ["<unk>"] + [p + c + s for c in letters for p in ("", prefix) for s in ("", suffix)]
    merges = [f"g {prefix}o", f"go {prefix}o", f"f {prefix}i", f"{prefix}l {prefix}m{suffix}", f"w {prefix}a", f"wa {prefix}s{suffix}"]
    made = ["go", "goo", "fi", f"{prefix}lm{suffix}", "wa", f"was{suffix}"]
    return bpe({token: i for i, token in enumerate(dict.fromkeys(tokens + made))}, merges, unk_token="<unk>",
               continuing_subword_prefix=prefix or None, end_of_word_suffix=suffix or None)


def unigram(pieces, **options):
    return {"type": "Unigram", "unk_id": 0, "vocab": [[piece, -0.5 - 0.37 * i % 7] for i, piece in enumerate(pieces)], **options}


WORDS = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "the": 3, "film": 4, "was": 5, "good": 6, "##s": 7, "##film": 8, "##good": 9, ".": 10, "The": 11,
         "##was": 12, "a": 13, "##a": 14, "!": 15, "mask": 16, "caf": 17, "##e": 18, "@@a": 19, "\u4f60": 20, "\u597d": 21, "<unk>": 22, "two": 23}


def added(token, identifier, **options):
    plain = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {"id": identifier, "content": token, **plain, **options}


def tokenizer(model, **parts):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": None,
            "post_processor": None, "decoder": None, "model": model, **parts}


BASES = {
    "pieces": tokenizer(bpe(unk_token="<unk>"), added_tokens=[added("<s>", 1), added("</s>", 2)]),
    "words": tokenizer(dict(type="WordLevel", vocab=WORDS, unk_token="[UNK]"), pre_tokenizer={"type": "Whitespace"}),
}
CASES = {}


def case(name, base="pieces", without=(), **parts):
    CASES[name] = {"base": base, "parts": parts, "without": list(without)}


def table(kind, part, base="pieces", **options):
    """A case for every combination of the options' values; an option that is ... is left out."""
    for values in itertools.product(*options.values()):
        chosen = {name: value for name, value in zip(options, values) if value is not ...}
        told = ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in chosen.items())
        case(f"{part} {kind}: {told}", base, **{part: {"type": kind, **chosen}})


BOTH = [False, True]
BEHAVIORS = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
PATTERNS = [{"String": "o"}, {"Regex": "o+|\\s"}, {"Regex": "(?i)film"}, {"Regex": "^a|\\$"}]


def components():
    case("no parts", without=["decoder", "normalizer", "pre_tokenizer", "post_processor", "truncation", "padding"])
    case("no version and no added tokens", without=["version", "added_tokens"])
    case("truncation and padding, which are set anew for every text",
         truncation={"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
         padding={"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"})
    for kind in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]:
        case(f"normalizer {kind}", normalizer={"type": kind})
    table("Strip", "normalizer", strip_left=BOTH, strip_right=BOTH)
    table("Prepend", "normalizer", prepend=["\u2581", "go"])
    table("Replace", "normalizer", pattern=PATTERNS, content=["", "$1", "\\0x"])
    table("BertNormalizer", "normalizer", clean_text=BOTH, handle_chinese_chars=BOTH, strip_accents=[None, *BOTH], lowercase=BOTH)
    case("normalizer Sequence", normalizer={"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}, {"type": "Lowercase"}]})
    for kind in ["BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts"]:
        case(f"pre_tokenizer {kind}", pre_tokenizer={"type": kind})
    table("ByteLevel", "pre_tokenizer", add_prefix_space=BOTH, trim_offsets=BOTH, use_regex=[..., *BOTH])
    table("CharDelimiterSplit", "pre_tokenizer", delimiter=["o", " "])
    table("Metaspace", "pre_tokenizer", replacement=["\u2581", "_"], prepend_scheme=["always", "first", "never"], split=[..., *BOTH])
    table("Metaspace", "pre_tokenizer", replacement=["\u2581"], add_prefix_space=[True])
    table("Punctuation", "pre_tokenizer", behavior=[..., *BEHAVIORS])
    table("Split", "pre_tokenizer", pattern=PATTERNS, behavior=BEHAVIORS, invert=BOTH)
    table("Digits", "pre_tokenizer", individual_digits=BOTH)
    table("FixedLength", "pre_tokenizer", length=[1, 3])
    case("pre_tokenizer Sequence", pre_tokenizer={"type": "Sequence", "pretokenizers": [
        {"type": "Punctuation"}, {"type": "Digits", "individual_digits": True}, {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"}]})
    for unknown, fuse, fallback, ignore in itertools.product([None, "<unk>"], BOTH, BOTH, BOTH):
        case(f"model BPE: unk_token {unknown}, fuse_unk {fuse}, byte_fallback {fallback}, ignore_merges {ignore}",
             model=bpe(unk_token=unknown, fuse_unk=fuse, byte_fallback=fallback, ignore_merges=ignore), pre_tokenizer={"type": "WhitespaceSplit"})
    for prefix, suffix in [("##", ""), ("", "</w>"), ("@@", "</w>")]:
        case(f"model BPE: prefix {prefix}, suffix {suffix}", model=affixed(prefix, suffix), added_tokens=[], pre_tokenizer={"type": "WhitespaceSplit"})
    case("model BPE: merges as pairs", model=bpe(merges=[merge.split(" ") for merge in MERGES], unk_token="<unk>"))
    for fallback in [..., *BOTH]:
        options = {} if fallback is ... else {"byte_fallback": fallback}
        for name, pre in [("none", None), ("Metaspace", {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"})]:
            case(f"model Unigram: {options}, pre_tokenizer {name}", model=unigram(PIECES, **options), pre_tokenizer=pre)
    for prefix, most in [("##", 100), ("##", 4), ("@@", 100)]:
        model = dict(type="WordPiece", vocab=WORDS, unk_token="[UNK]", continuing_subword_prefix=prefix, max_input_chars_per_word=most)
        case(f"model WordPiece: prefix {prefix}, at most {most} characters", "words", model=model)
    for unknown in ["[UNK]", "<unk>"]:
        case(f"model WordLevel: unk_token {unknown}", "words", model=dict(type="WordLevel", vocab=WORDS, unk_token=unknown))
    for left, right, single, normalized in itertools.product(BOTH, BOTH, BOTH, BOTH):
        flags = dict(lstrip=left, rstrip=right, single_word=single, normalized=normalized)
        case(f"added tokens: {flags}", normalizer={"type": "Lowercase"}, added_tokens=[
            added("<mask>", 900, special=False, **flags), added("mask", 901, special=False, **flags), added("Good", 902, special=True, **flags)])
    case("added tokens: a gap, one of the vocabulary, one within another", added_tokens=[
        added("goodfilm", 2000, special=False), added("goodfilmwas", 3000, special=False), added("<s>", 1), added("good", 77, special=False)])
    post_processors()


def post_processors():
    special = lambda name, kind=0: {"SpecialToken": {"id": name, "type_id": kind}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    pair = [text, {"Sequence": {"id": "B", "type_id": 1}}]
    ids = {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}, "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]},
           "both": {"id": "both", "ids": [1, 2], "tokens": ["<s>", "</s>"]}, "other": {"id": "other", "ids": [7], "tokens": ["x"]}}
    for name, single in {"before": [special("<s>"), text], "after": [text, special("</s>")], "around": [special("<s>"), text, special("</s>")],
                         "two before, two after": [special("both"), text, special("both")], "nothing": [text],
                         "an id that is another token's": [special("other"), text]}.items():
        case(f"post_processor TemplateProcessing: {name}",
             post_processor={"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": ids})
    around = {"type": "TemplateProcessing", "single": [special("<s>"), text, special("</s>")], "pair": pair, "special_tokens": ids}
    case("post_processor TemplateProcessing: around words", "words", post_processor=around)
    case("post_processor BertProcessing", "words", post_processor={"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]})
    for trim, prefix in itertools.product(BOTH, BOTH):
        case(f"post_processor RobertaProcessing: trim_offsets {trim}, add_prefix_space {prefix}", post_processor={
            "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": trim, "add_prefix_space": prefix})
    byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
    case("post_processor ByteLevel", post_processor=byte_level)
    case("post_processor Sequence", post_processor={"type": "Sequence", "processors": [byte_level, around]})


def build(text):
    made = Tokenizer.from_str(text)
    made.no_truncation()
    made.no_padding()
    return made


def encoded(made, text):
    encoding = made.encode(text)
    special = encoding.special_tokens_mask
    whole = len(special)
    leading = next((i for i, flag in enumerate(special) if not flag), whole)
    trailing = next((i for i, flag in enumerate(reversed(special)) if not flag), whole)
    return [leading, trailing, *encoding.ids]


def fingerprint(ids):
    return hashlib.sha256(struct.pack(f"<{len(ids)}I", *ids)).digest()[:4]


def main():
    out = sys.argv[1]
    given = json.load(sys.stdin)
    components()
    for name, chosen in CASES.items():
        whole = {**BASES[chosen["base"]], **chosen["parts"]}
        made = build(json.dumps({key: value for key, value in whole.items() if key not in chosen["without"]}))
        chosen["encoded"] = [encoded(made, text) for text in TEXTS]
    with open(f"{out}/components.json", "w") as f:
        json.dump({"tokenizers": __version__, "texts": TEXTS, "bases": BASES, "cases": CASES}, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")
    lines = given["lines"]
    kinds = {}
    for name, text in given["tokenizers"].items():
        made = build(text)
        kinds[name] = base64.b64encode(b"".join(fingerprint(made.encode(line).ids) for line in lines)).decode()
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    with open(f"{out}/nasty-lines.json", "w") as f:
        json.dump({"tokenizers": __version__, "linesSha256": digest, "kinds": kinds}, f, indent=1)
        f.write("\n")
    print(f"{len(CASES)} cases, {len(lines)} lines, {len(kinds)} kinds")


main()
