/**
 * Calls that stay open (streams, long polls) were let in by a key that may end meanwhile: revoked, expired, its tenant suspended.
 * They end with it, and with the reason that a new call would be refused with. What is told of a key only makes the look
 * earlier: every replica looks at the keys of its open calls every few seconds, so one that heard nothing finds out by itself.
 */
import { setMaxListeners } from "node:events";
import type { Clock } from "../base/clock.ts";
import { AppError } from "../base/errors.ts";
import type { KeyRepository } from "../store/key-repository.ts";
import { identityOf } from "./api-keys.ts";
import type { KeyUse } from "./interceptors/call.ts";

/** Pause between two looks: a key that is revoked while its streams are open is to be noticed within 10 s by every replica. */
export const keyLookMs = 4_000;
/** Keys of one statement. */
const lookMax = 1_000;

export interface KeyHold {
  /** Aborts when the key ends; the reason is the refusal. */
  readonly signal: AbortSignal;
  /** To be called when the call is over, however. May be called twice. */
  release(): void;
}

/** What makes a call end with its key. */
export type HoldKey = (use: KeyUse | undefined) => KeyHold;

/** Of calls without a key. */
export const openForAll: KeyHold = { signal: new AbortController().signal, release: () => undefined };
setMaxListeners(0, openForAll.signal);

interface Held {
  readonly use: KeyUse;
  readonly end: AbortController;
  calls: number;
}

export class OpenKeys {
  readonly #keys: Pick<KeyRepository, "findKeys">;
  readonly #clock: Clock;
  /** By key, and by which of its secrets they came in. */
  readonly #held = new Map<string, Map<string, Held>>();

  constructor({ keys, clock }: { readonly keys: Pick<KeyRepository, "findKeys">; readonly clock: Clock }) {
    this.#keys = keys;
    this.#clock = clock;
  }

  readonly hold: HoldKey = (use) => {
    if (use === undefined) return openForAll;
    const held = this.#enter(use);
    let isOver = false;
    return {
      signal: held.end.signal,
      release: () => {
        if (isOver) return;
        isOver = true;
        held.calls -= 1;
        if (held.calls === 0) this.#drop(held);
      },
    };
  };

  /** Ends the calls of keys that ended. Looks at all that are held, or at one. */
  async look(keyId?: string): Promise<void> {
    const ids = keyId === undefined ? [...this.#held.keys()] : this.#held.has(keyId) ? [keyId] : [];
    for (let first = 0; first < ids.length; first += lookMax) {
      const some = ids.slice(first, first + lookMax);
      const found = await this.#keys.findKeys(some);
      for (const id of some) {
        for (const held of this.#held.get(id)?.values() ?? []) {
          const refusal = refusalOf(() => identityOf(held.use, found.get(id), this.#clock));
          if (refusal) this.#end(held, refusal);
        }
      }
    }
  }

  #enter(use: KeyUse): Held {
    const ofKey = this.#held.get(use.keyId) ?? new Map<string, Held>();
    this.#held.set(use.keyId, ofKey);
    const name = nameOf(use);
    let held = ofKey.get(name);
    if (!held) {
      held = { use, end: new AbortController(), calls: 0 };
      setMaxListeners(0, held.end.signal); // one for every open call
      ofKey.set(name, held);
    }
    held.calls += 1;
    return held;
  }

  #end(held: Held, refusal: AppError): void {
    this.#drop(held);
    held.end.abort(refusal);
  }

  #drop(held: Held): void {
    const { keyId } = held.use;
    const ofKey = this.#held.get(keyId);
    // After its end another one may stand there.
    if (ofKey?.get(nameOf(held.use)) !== held) return;
    ofKey.delete(nameOf(held.use));
    if (ofKey.size === 0) this.#held.delete(keyId);
  }
}

function nameOf({ secretHash }: KeyUse): string {
  return Buffer.from(secretHash).toString("base64");
}

function refusalOf(judge: () => unknown): AppError | undefined {
  try {
    judge();
    return undefined;
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
}
