/**
 * Commands for executions that another replica drives. The replica that was asked leaves the command in the inbox and tells;
 * the driver takes it, hands it to its run and leaves the answer. Messages make that quick; without them both sides look
 * at the inbox at intervals.
 *
 * A driver that dies after it carried a command out and before it answered leaves it to the next driver, who carries it out
 * again. Every command stands that: asked twice, it changes nothing or is refused with the state that it led to.
 */
import type { Clock } from "../base/clock.ts";
import { AppError, type ErrorReason, errorReasons, type FieldViolation, messageOf } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { Inbox, PostedCommand, TakenCommand } from "../store/inbox.ts";
import type { ReplicaNews } from "./replica-news.ts";

/** What became of a command: done, refused, or (nobody drives the execution any more) to be tried again. */
export type DeskAnswer =
  | { readonly kind: "done"; readonly answer: JsonObject | undefined }
  | { readonly kind: "refused"; readonly error: AppError }
  | { readonly kind: "again" };

export interface CommandDeskOptions {
  readonly replicaId: string;
  readonly inbox: Inbox;
  readonly news: ReplicaNews;
  readonly clock: Clock;
  readonly log: Log;
  /** Hands a command to an execution that is driven here; undefined when it is not. */
  readonly deliver: (tenantId: string, executionId: string, command: ControlCommand) => Promise<JsonObject | undefined> | undefined;
}

/** How long an answer is awaited, and how often the inbox is looked at meanwhile. */
const answerMsMax = 5_000;
const lookMs = 200;
/** A driver that took the command and let go of the execution may still be about to answer. */
const lateMs = 1_000;
const clearEveryMs = 60_000;

export class CommandDesk {
  readonly #options: CommandDeskOptions;
  readonly #awaited = new Map<string, () => void>();
  #looking: Promise<void> | undefined;
  #lookAgain = false;
  #clearedAt = 0;

  constructor(options: CommandDeskOptions) {
    this.#options = options;
  }

  /** Asks whoever drives the execution. Throws STORAGE_UNAVAILABLE when no answer comes within five seconds. */
  async ask(tenantId: string, executionId: string, command: ControlCommand): Promise<DeskAnswer> {
    const { inbox, news, clock } = this.#options;
    const posted = await inbox.post(tenantId, executionId, command);
    if (!posted) return { kind: "again" };
    news.tellCommand();
    try {
      const endsAt = clock.monotonic() + answerMsMax;
      let releasedAt: number | undefined;
      for (;;) {
        await this.#answered(posted.commandId);
        const status = await inbox.look(posted);
        const now = clock.monotonic();
        if (status?.answer) return readAnswer(status.answer);
        // Its driver died and this replica drives it now: with no peer left nobody else would call for a look.
        if (status?.isDriven) void this.look();
        if (!status?.isDriven) {
          releasedAt ??= now;
          if (!status?.isTaken || now - releasedAt >= lateMs) return { kind: "again" };
        }
        if (now >= endsAt) {
          const late = await inbox.withdraw(posted);
          if (late) return readAnswer(late);
          throw new AppError(
            "STORAGE_UNAVAILABLE",
            "the replica that drives this execution has not answered; the command may still be carried out. Try again",
            {
              retryAfterMs: 500,
            },
          );
        }
      }
    } finally {
      this.#awaited.delete(posted.commandId);
      await inbox.withdraw(posted).catch(() => undefined);
    }
  }

  /** A peer says that it has answered. */
  answered(commandId: string): void {
    this.#awaited.get(commandId)?.();
  }

  /** Takes what lies in the inbox for executions driven here. May be called at any time; never throws. */
  look(): Promise<void> {
    this.#lookAgain = true;
    this.#looking ??= this.#takeAll();
    return this.#looking;
  }

  async #takeAll(): Promise<void> {
    const { inbox, replicaId, clock, log } = this.#options;
    while (this.#lookAgain) {
      this.#lookAgain = false;
      try {
        for (const taken of await inbox.take(replicaId)) void this.#carryOut(taken);
        const now = clock.monotonic();
        if (now - this.#clearedAt < clearEveryMs) continue;
        this.#clearedAt = now;
        await inbox.clear(clearEveryMs);
      } catch (error) {
        log.warn({ error: messageOf(error) }, "the inbox of commands could not be read");
      }
    }
    // Here and not when the promise settles: whoever asks in between would wait for a look that is over.
    this.#looking = undefined;
  }

  async #carryOut({ executionId, command, ...posted }: TakenCommand): Promise<void> {
    const { inbox, news, log } = this.#options;
    try {
      await inbox.answer(posted, await this.#result(posted, executionId, command));
      news.tellAnswer(posted.commandId);
    } catch (error) {
      log.warn({ executionId, error: messageOf(error) }, "the answer to a command could not be stored; who asked will ask again");
    }
  }

  async #result(posted: PostedCommand, executionId: string, command: ControlCommand): Promise<JsonObject> {
    try {
      const delivered = this.#options.deliver(posted.tenantId, executionId, command);
      if (!delivered) return { again: true };
      return { done: true, answer: (await delivered) ?? null };
    } catch (error) {
      if (error instanceof AppError) return error.reason === "STORAGE_UNAVAILABLE" ? { again: true } : errorToJson(error);
      this.#options.log.error({ executionId, kind: command.kind, error: messageOf(error) }, "a command broke an invariant");
      return errorToJson(new AppError("INTERNAL_BUG", `the command ${command.kind} failed unexpectedly`));
    }
  }

  /** Resolves when the answer is announced, or after a while. */
  async #answered(commandId: string): Promise<void> {
    const timer = new AbortController();
    const told = new Promise<void>((resolve) => this.#awaited.set(commandId, resolve));
    await Promise.race([told, this.#options.clock.sleep(lookMs, timer.signal).catch(() => undefined)]);
    timer.abort(new Error("answered"));
  }
}

/** How often a driver looks at its inbox when no message calls it. */
export const inboxLookMs = limits.claimPollMs * 2;

function errorToJson({ reason, message, metadata, violations, retryAfterMs }: AppError): JsonObject {
  return { reason, message, metadata: { ...metadata }, violations: violations.map((violation) => ({ ...violation })), retryAfterMs: retryAfterMs ?? null };
}

function readAnswer(answer: JsonObject): DeskAnswer {
  if (answer["done"] === true) return { kind: "done", answer: isJsonObject(answer["answer"]) ? answer["answer"] : undefined };
  if (answer["again"] === true) return { kind: "again" };
  const { reason, message, metadata, violations, retryAfterMs } = answer as unknown as {
    reason: string;
    message: string;
    metadata: Record<string, string>;
    violations: FieldViolation[];
    retryAfterMs: number | null;
  };
  // A reason of a newer release is still a refusal.
  const known = errorReasons.includes(reason) ? (reason as ErrorReason) : "FEATURE_DISABLED";
  return { kind: "refused", error: new AppError(known, message, { metadata, violations, ...(retryAfterMs === null ? {} : { retryAfterMs }) }) };
}
