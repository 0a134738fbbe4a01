/** Pieces that arrive by messages, read as a stream. Its sender bounds it (`byte-window.ts`). */
export class PieceQueue implements AsyncIterable<Uint8Array> {
  readonly #pieces: Uint8Array[] = [];
  readonly #onTaken: (bytes: number) => void;
  #end: "open" | "ended" | { readonly reason: unknown } = "open";
  #waiting: PromiseWithResolvers<void> | undefined;

  /** @param onTaken is told how many bytes the reader has gone past. */
  constructor(onTaken: (bytes: number) => void) {
    this.#onTaken = onTaken;
  }

  add(piece: Uint8Array): void {
    if (this.#end !== "open") return this.#onTaken(piece.length);
    this.#pieces.push(piece);
    this.#wake();
  }

  end(): void {
    if (this.#end === "open") this.#end = "ended";
    this.#wake();
  }

  /** The reader gets `reason` thrown at once; pieces that it has not read are gone. */
  breakOff(reason: unknown): void {
    if (this.#end !== "ended" || this.#pieces.length > 0) this.#end = { reason };
    this.#drop();
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    try {
      for (;;) {
        const piece = this.#pieces.shift();
        if (piece) {
          const bytes = piece.length;
          try {
            yield piece;
          } finally {
            this.#onTaken(bytes);
          }
        } else if (typeof this.#end === "object") throw this.#end.reason;
        else if (this.#end === "ended") return;
        else {
          this.#waiting = Promise.withResolvers();
          await this.#waiting.promise;
        }
      }
    } finally {
      this.#drop();
    }
  }

  #drop(): void {
    for (const piece of this.#pieces.splice(0)) this.#onTaken(piece.length);
  }

  #wake(): void {
    this.#waiting?.resolve();
    this.#waiting = undefined;
  }
}

/**
 * Gives the memory of each piece back as soon as the next one is asked for: whoever needs it longer copies it. The garbage collector
 * would let 64 MiB of them gather in each thread.
 */
export async function* releasing(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    // Node.js 20 has no such method: there they gather.
    (piece.buffer as ArrayBuffer).transfer?.(0);
  }
}
