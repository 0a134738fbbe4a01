/**
 * Where a reader of committed lines stands: a snapshot of the database, `xmin:xmax:open,…` as pg_snapshot writes it. Everything that
 * it shows was handed out. Lines bear times, but commit in another order, and two that commit at once have no order at all; what
 * is visible in one snapshot and not in an earlier one is exactly what was committed in between, each line once.
 */

/** Shows nothing: whoever stands there has seen no line. */
export const beforeAll = "1:1:";

/** Transactions that a mark may name as open; a mark travels in a token. */
export const openMax = 16;

interface Snapshot {
  /** Every transaction below it is over. */
  readonly xmin: bigint;
  /** None from here on had begun. */
  readonly xmax: bigint;
  readonly open: number;
}

/** Undefined for what is no snapshot. */
export function readMark(text: string): Snapshot | undefined {
  const match = /^(\d{1,19}):(\d{1,19}):((?:\d{1,19}(?:,\d{1,19})*)?)$/.exec(text);
  if (!match) return undefined;
  const [, xmin = "", xmax = "", open = ""] = match;
  return { xmin: BigInt(xmin), xmax: BigInt(xmax), open: open === "" ? 0 : open.split(",").length };
}

/**
 * The mark to go to from `before`, given what the database shows now. While more transactions are open than a mark may name, only
 * what is below all of them is taken, and where `before` reaches beyond that there is no such mark: undefined, look again.
 */
export function nextMark(before: string, now: string): string | undefined {
  const [from, to] = [readMark(before), readMark(now)];
  if (!from || !to) return undefined;
  if (to.open <= openMax) return now;
  return from.xmax <= to.xmin ? `${to.xmin}:${to.xmin}:` : undefined;
}

/**
 * Where to begin, given what the database shows now. With more open transactions than a mark may name it begins below all of them: what
 * was committed in the last moments comes, too.
 */
export function firstMark(now: string): string {
  const snapshot = readMark(now);
  return !snapshot || snapshot.open <= openMax ? now : `${snapshot.xmin}:${snapshot.xmin}:`;
}

/** The mark was made by a database that was further: this one was restored from a copy, and its transactions are others. */
export function isAhead(mark: string, now: string): boolean {
  const [from, to] = [readMark(mark), readMark(now)];
  return !from || !to || from.xmax > to.xmax;
}

/**
 * How much older a line's time may be than the beginning of the transaction that writes it: an event of a ledger bears the time at which
 * it was made, and waits for the journal while its replica holds the lease (at most 120 s without a renewal).
 */
const commitMsMax = 300_000;
/** Between two moments that are remembered. */
const seeEveryMs = 5_000;

/**
 * From when on lines may still come: those of transactions that were over at some moment have come, and those that began
 * behind it bear times that are not much older than it. Keeps the reading of what is new away from what is long known.
 */
export class LowWater {
  #since: number;
  readonly #seen: { readonly at: number; readonly xmax: bigint }[] = [];

  constructor(since: number) {
    this.#since = since;
  }

  /** Milliseconds since the epoch. */
  get since(): number {
    return this.#since;
  }

  /** The database showed `mark` at that moment. */
  saw(mark: string, at: number): void {
    const snapshot = readMark(mark);
    const last = this.#seen.at(-1);
    if (snapshot && (!last || at - last.at >= seeEveryMs)) this.#seen.push({ at, xmax: snapshot.xmax });
  }

  /** The reader has everything that `mark` shows. */
  reached(mark: string): void {
    const snapshot = readMark(mark);
    while (snapshot && this.#seen[0] && this.#seen[0].xmax <= snapshot.xmin) {
      this.#since = Math.max(this.#since, this.#seen[0].at - commitMsMax);
      this.#seen.shift();
    }
  }
}
