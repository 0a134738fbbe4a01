/** A result that is written as text: collected to pieces of a good size. */
import type { ResultSink } from "../task-port.ts";
import { pieceBytes } from "../thread-messages.ts";

export class TextResult {
  readonly #sink: ResultSink;
  #held: string[] = [];
  #characters = 0;

  constructor(sink: ResultSink) {
    this.#sink = sink;
  }

  async add(text: string): Promise<void> {
    this.#held.push(text);
    this.#characters += text.length;
    if (this.#characters >= pieceBytes) await this.end();
  }

  /** Sends what is held. */
  async end(): Promise<void> {
    const bytes = Buffer.from(this.#held.join(""));
    this.#held = [];
    this.#characters = 0;
    if (bytes.length > 0) await this.#sink.write(bytes);
  }
}
