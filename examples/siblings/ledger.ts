/**
 * What a sibling service did, by idempotency key: the first request with a key acts, a repeat gets the first answer again
 * and is only counted. A request whose twin is still running is answered 409, which callers take as "ask again".
 *
 * The ledger also notes the saga, step and operation a call names, so that a reader can see what no key can show: whether
 * one step acted twice under two keys, and in which order things were undone.
 */
export interface Call {
  /** Value of Idempotency-Key, or webhook-id. */
  readonly key: string;
  /** For example `POST /reservations`. */
  readonly action: string;
  readonly sagaId: string;
  readonly step: string;
  /** `action` or `compensate`. */
  readonly operation: string;
}

export interface Answer {
  readonly status: number;
  readonly body: unknown;
}

export interface Effect extends Call {
  /** Order in which this sibling acted, from 1. */
  readonly sequence: number;
  /** Moment on this machine, milliseconds since the epoch. */
  readonly at: number;
}

export interface LedgerView {
  readonly requests: number;
  /** Repeats that were answered from the ledger. */
  readonly duplicates: number;
  /** Requests whose twin was still running. */
  readonly twins: number;
  /** Requests that were sent away without acting and may be repeated (503). */
  readonly busy: number;
  readonly effectCount: number;
  readonly effects: readonly Effect[];
  /** Final refusals (4xx) by key. */
  readonly refusals: readonly Effect[];
}

export interface Ledger {
  /** `act` is run at most once per key, unless it answers 5xx. */
  run(call: Call, act: () => Answer | Promise<Answer>): Promise<Answer & { readonly replayed: boolean }>;
  view(withLists: boolean): LedgerView;
}

export function createLedger(): Ledger {
  const answers = new Map<string, Answer>();
  const running = new Set<string>();
  const effects: Effect[] = [];
  const refusals: Effect[] = [];
  const counts = { requests: 0, duplicates: 0, twins: 0, busy: 0 };

  return {
    async run(call, act) {
      counts.requests++;
      const first = answers.get(call.key);
      if (first) {
        counts.duplicates++;
        return { ...first, replayed: true };
      }
      if (running.has(call.key)) {
        counts.twins++;
        return { status: 409, body: { error: "TWIN_RUNNING" }, replayed: false };
      }
      running.add(call.key);
      try {
        const answer = await act();
        if (answer.status >= 500) {
          counts.busy++;
          return { ...answer, replayed: false };
        }
        answers.set(call.key, answer);
        const list = answer.status < 300 ? effects : refusals;
        list.push({ ...call, sequence: effects.length + refusals.length + 1, at: Date.now() });
        return { ...answer, replayed: false };
      } finally {
        running.delete(call.key);
      }
    },
    view: (withLists) => ({ ...counts, effectCount: effects.length, effects: withLists ? effects : [], refusals: withLists ? refusals : [] }),
  };
}
