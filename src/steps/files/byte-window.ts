/** A bound on bytes under way: whoever sends waits for room, whoever has read gives it back. */
export class ByteWindow {
  readonly #bytesMax: number;
  #used = 0;
  #waiting: PromiseWithResolvers<void> | undefined;
  #stopped: { readonly reason: unknown } | undefined;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get used(): number {
    return this.#used;
  }

  /** No room for another piece. */
  get isFull(): boolean {
    return this.#used >= this.#bytesMax;
  }

  /** Resolves when the bytes may go; one caller at a time. Rejects with the reason of `stop`. */
  async take(bytes: number): Promise<void> {
    while (!this.#stopped && this.#used > 0 && this.#used + bytes > this.#bytesMax) {
      this.#waiting ??= Promise.withResolvers();
      await this.#waiting.promise;
    }
    if (this.#stopped) throw this.#stopped.reason;
    this.#used += bytes;
  }

  /** Resolves when all of them have been read. Rejects with the reason of `stop`. */
  async untilEmpty(): Promise<void> {
    while (!this.#stopped && this.#used > 0) {
      this.#waiting ??= Promise.withResolvers();
      await this.#waiting.promise;
    }
    if (this.#stopped) throw this.#stopped.reason;
  }

  give(bytes: number): void {
    this.#used -= bytes;
    this.#wake();
  }

  stop(reason: unknown): void {
    this.#stopped ??= { reason };
    this.#wake();
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}
