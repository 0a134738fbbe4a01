/**
 * Holds executions to their workflow's concurrency limit over all replicas (the store's slots do), and tells those that get
 * room. Any replica looks: after starts and ends of its own at once, else every second while there are slots at all.
 */
import type { Caller } from "../base/caller.ts";
import type { Clock } from "../base/clock.ts";
import { AppError, messageOf } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { SlotHolder, SlotStore, SlotWish } from "../store/workflow-slots.ts";

export interface ConcurrencyGateOptions {
  readonly store: SlotStore;
  readonly control: (caller: Caller, executionId: string, command: ControlCommand) => Promise<unknown>;
  readonly clock: Clock;
  readonly log: Log;
}

const lookMs = 1_000;
/** How often a service without any slot looks whether another replica made one. */
const idleLookMs = 5_000;

export class ConcurrencyGate {
  readonly #options: ConcurrencyGateOptions;
  readonly #stopping = new AbortController();
  #inUse = false;
  #loop: Promise<void> | undefined;
  #lookNow: () => void = () => undefined;
  #asked = false;

  constructor(options: ConcurrencyGateOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop ??= this.#lookForever();
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the replica stops"));
    this.#look();
    await this.#loop;
  }

  /** Before the execution is written. `full`: it may not start. */
  async take(wish: SlotWish): Promise<"running" | "queued" | "full"> {
    this.#inUse = true;
    return await this.#options.store.take(wish);
  }

  /** The execution was not written. */
  async drop(holder: SlotHolder): Promise<void> {
    await this.#options.store.drop(holder).catch((error: unknown) => this.#complain(error));
    this.#look();
  }

  /** A queued execution stands in the ledger now: there may be room by now, or somebody to cancel. */
  queued(): void {
    this.#look();
  }

  /** An execution ended here. */
  ended(): void {
    if (this.#inUse) this.#look();
  }

  #look(): void {
    this.#asked = true;
    this.#lookNow();
  }

  async #lookForever(): Promise<void> {
    const { clock, store } = this.#options;
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      this.#asked = false;
      try {
        this.#inUse = await store.any();
        if (this.#inUse) await this.#settle();
      } catch (error) {
        this.#complain(error);
      }
      if (this.#asked) continue;
      const timer = new AbortController();
      const told = new Promise<void>((resolve) => (this.#lookNow = resolve));
      await Promise.race([told, clock.sleep(this.#inUse ? lookMs : idleLookMs, timer.signal).catch(() => undefined)]);
      timer.abort(new Error("told"));
    }
  }

  async #settle(): Promise<void> {
    const { store } = this.#options;
    const { release, cancel } = await store.settle();
    await Promise.all([
      ...release.map(async (holder) => {
        if (await this.#tell(holder, { kind: "release", of: "concurrency", actor: "engine", reason: "there is room for it" })) await store.released(holder);
      }),
      ...cancel.map((holder) => this.#tell(holder, { kind: "cancel", actor: "engine", reason: "a newer execution of its group waits", graceMs: 0 })),
    ]);
  }

  /** False: to be told again. */
  async #tell({ tenantId, executionId }: SlotHolder, command: ControlCommand): Promise<boolean> {
    const caller: Caller = { tenantId, actor: "engine", scopes: new Set(), correlationId: "", requestId: "" };
    try {
      await this.#options.control(caller, executionId, command);
      return true;
    } catch (error) {
      if (error instanceof AppError && error.code === "FAILED_PRECONDITION") return true;
      this.#complain(error);
      return false;
    }
  }

  #complain(error: unknown): void {
    this.#options.log.warn({ error: messageOf(error) }, "slots of a concurrency limit could not be settled; it is tried again");
  }
}
