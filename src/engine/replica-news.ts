/**
 * What replicas tell each other so that nobody has to wait for the next look at a table: progress of executions that a peer
 * watches, commands left in an inbox, their answers, work that is due at once.
 *
 * A replica says which executions and tenants it watches (`want`, repeated every few seconds and forgotten after some), and
 * the one that drives them tells only what somebody wants: (execution, first and last new event number), collected for
 * up to 20 ms into one statement. While nobody else watches, a commit costs one look into a map.
 *
 * Every message may be lost. Readers also look at the tables at intervals, so that costs time and never an event.
 */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import { notifyBytesMax } from "../store/notify.ts";

/** Shortest pause between two statements that tell. */
const tellEveryMs = 20;
/** How often wants are repeated, and how long a peer remembers one. */
const wantEveryMs = 5_000;
const wantMsMax = 16_000;
/** Executions with untold progress; above it all are dropped and peers find out by looking. */
const untoldMax = 20_000;

export interface NewsLink {
  readonly up: boolean;
  send(payloads: readonly string[]): Promise<boolean>;
}

export interface NewsListener {
  /** Events `first` to `last` of an execution that this replica wants stand in the ledger. */
  readonly onProgress: (tenantId: string, executionId: string, first: number, last: number) => void;
  /** Commands may lie in the inbox of an execution. */
  readonly onCommand: () => void;
  readonly onAnswer: (commandId: string) => void;
  /** Executions became due without an owner. */
  readonly onDue: () => void;
  /** So many tasks joined a queue that somebody here waits at. */
  readonly onTasks?: (tenantId: string, queue: string, count: number) => void;
  /** The task's attempt is over. */
  readonly onTaskEnd?: (taskId: string) => void;
  /** A participant gave its first good, or bad, answer after others. */
  readonly onDestination?: (tenantId: string, destination: string, answer: "good" | "bad") => void;
  /** The key opens nothing any more. */
  readonly onKeyRevoked?: (keyId: string) => void;
  /** The operator changed the tenant's settings. */
  readonly onTenantChanged?: (tenantId: string) => void;
  /** A workflow of the tenant changed. */
  readonly onWorkflowsChanged: (tenantId: string) => void;
}

export interface ReplicaNewsOptions {
  readonly replicaId: string;
  readonly link: NewsLink;
  readonly clock: Clock;
  readonly log: Log;
  /** Whether other replicas are alive; without one nothing is told. */
  readonly hasPeers: () => boolean;
}

type Item = readonly (string | number)[];
/** progress, want, command, answer, due, hello, tasks, end of a task, workflows changed, answer of a participant, key revoked, tenant changed */
type Kind = "p" | "w" | "c" | "a" | "d" | "h" | "t" | "e" | "v" | "b" | "k" | "n";
const kinds: ReadonlySet<string> = new Set(["p", "w", "c", "a", "d", "h", "t", "e", "v", "b", "k", "n"]);
const deaf: NewsListener = {
  onProgress: () => undefined,
  onCommand: () => undefined,
  onAnswer: () => undefined,
  onDue: () => undefined,
  onWorkflowsChanged: () => undefined,
};

export class ReplicaNews {
  readonly #options: ReplicaNewsOptions;
  readonly #stopping = new AbortController();
  #listener: NewsListener = deaf;
  /** By execution id: tenant, first and last number. */
  #progress = new Map<string, { readonly tenantId: string; first: number; last: number }>();
  #others: { readonly kind: Kind; readonly item: Item }[] = [];
  /** What peers want, until when by the monotonic clock. */
  readonly #wantedByPeers = new Map<string, number>();
  /** What is wanted here, by key, with how many want it. */
  readonly #wants = new Map<string, { readonly item: Item; count: number }>();
  /** When a peer was heard last, by the monotonic clock. */
  #heardAt = Number.NEGATIVE_INFINITY;
  #telling: Promise<void> | undefined;
  #loop: Promise<void> | undefined;

  constructor(options: ReplicaNewsOptions) {
    this.#options = options;
  }

  /** Replaces whoever listened before. */
  listen(listener: Partial<NewsListener>): void {
    this.#listener = { ...deaf, ...listener };
  }

  start(): void {
    this.#loop ??= this.#repeatWants();
  }

  /** Sends what is left. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    await this.#loop;
    await this.#telling;
  }

  /** Whether news of other replicas arrive by themselves at this moment. */
  get live(): boolean {
    return this.#options.link.up;
  }

  /** Events were committed here. */
  tellProgress(tenantId: string, executionId: string, first: number, last: number): void {
    if (this.#wantedByPeers.size === 0) return;
    const wanted = this.#wantedByPeers.has(keyOf(tenantId, executionId)) || this.#wantedByPeers.has(keyOf(tenantId, ""));
    if (!wanted) return;
    const known = this.#progress.get(executionId);
    if (known) {
      known.first = Math.min(known.first, first);
      known.last = Math.max(known.last, last);
    } else {
      if (this.#progress.size >= untoldMax) this.#progress.clear();
      this.#progress.set(executionId, { tenantId, first, last });
    }
    this.#tellSoon();
  }

  tellCommand(): void {
    this.#tell("c", []);
  }

  tellAnswer(commandId: string): void {
    this.#tell("a", [commandId]);
  }

  tellDue(): void {
    this.#tell("d", []);
  }

  /** Tasks joined a queue. Told when a peer wants `queueTopic(queue)` of the tenant. */
  tellTasks(tenantId: string, queue: string, count: number): void {
    if (this.#wantedByPeers.has(keyOf(tenantId, queueTopic(queue)))) this.#tell("t", [tenantId, queue, count]);
  }

  /** Tasks are over. Told when a peer wants `taskEndTopic` of the tenant. */
  tellTaskEnds(tenantId: string, taskIds: readonly string[]): void {
    if (!this.#wantedByPeers.has(keyOf(tenantId, taskEndTopic))) return;
    for (const taskId of taskIds) this.#tell("e", [taskId]);
  }

  tellWorkflowsChanged(tenantId: string): void {
    this.#tell("v", [tenantId]);
  }

  tellKeyRevoked(keyId: string): void {
    this.#tell("k", [keyId]);
  }

  tellTenantChanged(tenantId: string): void {
    this.#tell("n", [tenantId]);
  }

  /** What a participant answered, when that is another thing than before. */
  tellDestination(tenantId: string, destination: string, answer: "good" | "bad"): void {
    this.#tell("b", [tenantId, destination, answer]);
  }

  /** Peers tell progress of that execution, or of all of the tenant's, until the returned function is called. */
  want(tenantId: string, executionId = ""): () => void {
    const key = keyOf(tenantId, executionId);
    const item = executionId === "" ? [tenantId] : [tenantId, executionId];
    const known = this.#wants.get(key) ?? { item, count: 0 };
    known.count += 1;
    if (known.count === 1) {
      this.#wants.set(key, known);
      this.#tell("w", item);
    }
    let over = false;
    return () => {
      if (over) return;
      over = true;
      known.count -= 1;
      if (known.count === 0) this.#wants.delete(key);
    };
  }

  /** The link is up (again): peers learn who is new, and what is wanted here. */
  connected(): void {
    this.#others.push({ kind: "h", item: [] });
    this.#repeatAll();
  }

  /** A payload from the link. What cannot be read is left: it comes from a newer release, or from somebody else. */
  receive(payload: string): void {
    const message = parse(payload);
    if (!message || message.from === this.#options.replicaId) return;
    this.#heardAt = this.#options.clock.monotonic();
    for (const item of message.items) this.#take(message.kind, item);
  }

  #take(kind: Kind, item: Item): void {
    const [a, b, c, d] = item;
    switch (kind) {
      case "p":
        if (typeof a === "string" && typeof b === "string" && typeof c === "number" && typeof d === "number") this.#listener.onProgress(a, b, c, d);
        return;
      case "w":
        if (typeof a === "string") this.#wantedByPeers.set(keyOf(a, String(b ?? "")), this.#options.clock.monotonic() + wantMsMax);
        return;
      case "c":
        return this.#listener.onCommand();
      case "a":
        if (typeof a === "string") this.#listener.onAnswer(a);
        return;
      case "d":
        return this.#listener.onDue();
      case "t":
        if (typeof a === "string" && typeof b === "string" && typeof c === "number") this.#listener.onTasks?.(a, b, c);
        return;
      case "e":
        if (typeof a === "string") this.#listener.onTaskEnd?.(a);
        return;
      case "b":
        if (typeof a === "string" && typeof b === "string" && (c === "good" || c === "bad")) this.#listener.onDestination?.(a, b, c);
        return;
      case "k":
        if (typeof a === "string") this.#listener.onKeyRevoked?.(a);
        return;
      case "n":
        if (typeof a === "string") this.#listener.onTenantChanged?.(a);
        return;
      case "h":
        return this.#repeatAll();
      case "v":
        if (typeof a === "string") this.#listener.onWorkflowsChanged(a);
        return;
      default:
        kind satisfies never;
    }
  }

  /** While the link is down nothing is kept: peers look at the tables then, and `connected` says again what is wanted. */
  #tell(kind: Kind, item: Item): void {
    if (!this.#options.link.up || !this.#hasPeers()) return;
    this.#others.push({ kind, item });
    this.#tellSoon();
  }

  #hasPeers(): boolean {
    return this.#options.hasPeers() || this.#options.clock.monotonic() - this.#heardAt < wantMsMax;
  }

  #repeatAll(): void {
    if (!this.#options.link.up) return;
    for (const { item } of this.#wants.values()) this.#others.push({ kind: "w", item });
    if (this.#others.length > 0) this.#tellSoon();
  }

  #tellSoon(): void {
    if (this.#telling || !this.#options.link.up) return;
    this.#telling = this.#tellAll().finally(() => {
      this.#telling = undefined;
      if (this.#progress.size > 0 || this.#others.length > 0) this.#tellSoon();
    });
  }

  async #tellAll(): Promise<void> {
    // One turn of the event loop, so that what is committed together is told together.
    await new Promise((resolve) => setImmediate(resolve));
    const payloads = this.#payloads();
    if (payloads.length > 0 && !(await this.#options.link.send(payloads))) return;
    await this.#options.clock.sleep(tellEveryMs, this.#stopping.signal).catch(() => undefined);
  }

  #payloads(): string[] {
    const items = new Map<Kind, Item[]>();
    if (this.#progress.size > 0)
      items.set(
        "p",
        [...this.#progress].map(([executionId, { tenantId, first, last }]) => [tenantId, executionId, first, last]),
      );
    for (const { kind, item } of this.#others) {
      const known = items.get(kind);
      if (known && item.length > 0) known.push(item);
      else if (!known) items.set(kind, [item]);
    }
    this.#progress = new Map();
    this.#others = [];
    return [...items].flatMap(([kind, all]) => cut(this.#options.replicaId, kind, all));
  }

  async #repeatWants(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      await clock.sleep(wantEveryMs, signal).catch(() => undefined);
      const now = clock.monotonic();
      for (const [key, until] of this.#wantedByPeers) if (until < now) this.#wantedByPeers.delete(key);
      if (!signal.aborted && this.#hasPeers()) this.#repeatAll();
    }
  }
}

/** What is wanted of a tenant beside executions; no execution has such an id. */
export const taskEndTopic = "task ends";
export function queueTopic(queue: string): string {
  return `queue ${queue}`;
}

/** Tenants and ids hold no line break. */
function keyOf(tenantId: string, executionId: string): string {
  return `${tenantId}\n${executionId}`;
}

/** Payloads `["<replica>","<kind>",[item, …]]`, each small enough. */
export function cut(replicaId: string, kind: string, items: readonly Item[]): string[] {
  const head = `["${replicaId}","${kind}",[`;
  const payloads: string[] = [];
  let text = "";
  for (const item of items) {
    const next = JSON.stringify(item);
    if (text !== "" && head.length + Buffer.byteLength(text) + Buffer.byteLength(next) + 3 > notifyBytesMax) {
      payloads.push(`${head}${text}]]`);
      text = "";
    }
    text += text === "" ? next : `,${next}`;
  }
  payloads.push(`${head}${text}]]`);
  return payloads;
}

function parse(payload: string): { from: string; kind: Kind; items: readonly Item[] } | undefined {
  try {
    const [from, kind, items] = JSON.parse(payload) as [unknown, unknown, unknown];
    if (typeof from !== "string" || typeof kind !== "string" || !kinds.has(kind) || !Array.isArray(items)) return undefined;
    return items.every((item) => Array.isArray(item)) ? { from, kind: kind as Kind, items: items as Item[] } : undefined;
  } catch {
    return undefined;
  }
}
