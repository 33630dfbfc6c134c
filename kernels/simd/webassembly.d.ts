/** The part of the WebAssembly API that instance.ts uses: TypeScript declares it in its browser library only. */
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
  }
  class Memory {
    readonly buffer: ArrayBuffer;
    /** Pages of 64 KiB. */
    constructor(descriptor: { initial: number; maximum: number });
  }
  class Instance {
    readonly exports: object;
    constructor(module: Module, imports: { env: { memory: Memory } });
  }
}
