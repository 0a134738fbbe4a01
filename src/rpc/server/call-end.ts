/**
 * The end that a call meets before its answer is ready: its deadline passes, or its caller goes away. One timer and one
 * promise; the signal for those who listen to it is made when somebody asks, since each costs more than the rest of this.
 */
import { Code, ConnectError } from "@connectrpc/connect";
import type { Clock } from "../../base/clock.ts";

export class CallEnd {
  readonly #clock: Clock;
  readonly #endsAt: number | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #controller: AbortController | undefined;
  #ended: { readonly reason: unknown } | undefined;
  #reject: (reason: unknown) => void = () => undefined;

  /** `timeoutMs`: time from now until the deadline; undefined: none. */
  constructor(clock: Clock, timeoutMs: number | undefined) {
    this.#clock = clock;
    this.#endsAt = timeoutMs === undefined ? undefined : clock.monotonic() + timeoutMs;
    const late = (): void => this.end(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    if (timeoutMs === undefined) return;
    if (timeoutMs <= 0) late();
    else this.#timer = setTimeout(late, timeoutMs);
  }

  /** Milliseconds until the deadline; undefined: there is none. */
  leftMs(): number | undefined {
    return this.#endsAt === undefined ? undefined : this.#endsAt - this.#clock.monotonic();
  }

  /** Aborts when the call ends, early or with its answer. */
  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#ended && !this.#controller.signal.aborted) this.#controller.abort(this.#ended.reason);
    return this.#controller.signal;
  }

  /** Whether the call ended before its answer, and with what. */
  get early(): { readonly reason: unknown } | undefined {
    return this.#ended;
  }

  /** The caller is gone, or the deadline passed. */
  end(reason: unknown): void {
    if (this.#ended) return;
    this.#ended = { reason };
    clearTimeout(this.#timer);
    this.#controller?.abort(reason);
    this.#reject(reason);
  }

  /** Like the promise, but rejects as soon as the call ends early. To be called once. */
  unlessEarly<Value>(work: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      if (this.#ended) reject(this.#ended.reason);
      work.then(resolve, reject);
    });
  }

  /** The answer is made: nothing can end it early any more, and whoever still listens hears that it is over. */
  over(): void {
    clearTimeout(this.#timer);
    this.#reject = () => undefined;
    if (!this.#ended) this.#controller?.abort(callOver);
    this.#ended ??= { reason: callOver };
  }
}

/** Made once: an exception of its own for every call costs 10 µs. */
const callOver = new DOMException("The call is over.", "AbortError");
