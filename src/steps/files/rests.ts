/**
 * A large file beside other work. Low priority alone does not keep it out of the way: on two cores whoever wakes still waits until the
 * operating system looks again who is to run, up to 4 ms, several times in a step. So the file's thread rests after each piece, the
 * longer the longer that took: the busier the machine, the more of it is the others' (`npm run bench -- files`).
 */
import type { Clock } from "../../base/clock.ts";
import type { ByteWindow } from "./byte-window.ts";

/** Of the time that the piece before it took. Longer rests help little, and the memory of a busy server grows with the time that a file takes. */
const restShare = 0.75;
const restMsMax = 50;

export class Rests {
  readonly #clock: Clock;
  readonly #othersWork: () => boolean;

  /** @param othersWork is asked before each piece: a file that is alone does not rest. */
  constructor(clock: Clock, othersWork: () => boolean) {
    this.#clock = clock;
    this.#othersWork = othersWork;
  }

  /** Resolves when the next piece may go: what has gone is read, and the rest behind it over. */
  async before(sent: ByteWindow): Promise<void> {
    if (!this.#othersWork()) return;
    const sentAt = this.#clock.monotonic();
    await sent.untilEmpty();
    await this.#clock.sleep(Math.min(restShare * (this.#clock.monotonic() - sentAt), restMsMax));
  }
}
