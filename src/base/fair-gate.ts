/**
 * Lets so many through at a time, and the others in turns: one of each group, in the order in which they came, so that a group
 * with a thousand waiting delays another one by a single place.
 */
export class FairGate {
  readonly #activeMax: number;
  readonly #waitingMax: number;
  readonly #groups = new Map<string, (() => void)[]>();
  #active = 0;
  #waiting = 0;

  constructor(activeMax: number, waitingMax: number) {
    this.#activeMax = activeMax;
    this.#waitingMax = waitingMax;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Nobody is inside and nobody waits. */
  get isIdle(): boolean {
    return this.#active === 0 && this.#waiting === 0;
  }

  /** A place, to be given back by `leave`: "entered". "full": too many wait. "aborted": the signal came first. */
  async enter(group: string, signal: AbortSignal): Promise<"entered" | "full" | "aborted"> {
    if (signal.aborted) return "aborted";
    if (this.#active < this.#activeMax) {
      this.#active++;
      return "entered";
    }
    if (this.#waiting >= this.#waitingMax) return "full";
    const queue = this.#groups.get(group) ?? [];
    this.#groups.set(group, queue);
    this.#waiting++;
    return new Promise((resolve) => {
      const enter = (): void => {
        signal.removeEventListener("abort", onAbort);
        resolve("entered");
      };
      const onAbort = (): void => {
        const at = queue.indexOf(enter);
        if (at < 0) return;
        queue.splice(at, 1);
        if (queue.length === 0 && this.#groups.get(group) === queue) this.#groups.delete(group);
        this.#waiting--;
        resolve("aborted");
      };
      queue.push(enter);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  leave(): void {
    const [next] = this.#groups;
    if (!next) {
      this.#active--;
      return;
    }
    const [group, queue] = next;
    const enter = queue.shift();
    this.#groups.delete(group);
    if (queue.length > 0) this.#groups.set(group, queue);
    this.#waiting--;
    enter?.();
  }
}
