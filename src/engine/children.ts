/**
 * What a run does about its children, each time it looks outside: starts one that does not exist yet, takes the end of one
 * that has ended, asks one that is not wanted any more to end, and has one undo itself when its parent turns back.
 *
 * Everything here may be done again: a child's id stands in its parent's ledger before it exists, so a second start finds the
 * first; cancel and compensate change nothing when asked twice. A run's looks follow each other, and a replica that lost
 * the run can write no start any more, so a child that does not exist when it is called off never will.
 */
import type { Caller } from "../base/caller.ts";
import { AppError } from "../base/errors.ts";
import { isJsonObject, type JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { carriedBy } from "../base/trace-context.ts";
import { type ChildFacts, childOutcome, failedChild, isDetached, type OpenChild } from "../domain/children.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { CompiledRevision, Definition } from "../domain/definition.ts";
import type { EventPayloads } from "../domain/events.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import type { ReportedOutcome } from "../domain/reported-outcome.ts";
import { isTerminal } from "../domain/states.ts";
import type { AppendOutcome } from "../store/journal.ts";
import type { ChildLink, ChildReport } from "./child-link.ts";
import type { NewExecution } from "./new-execution.ts";
import { checkInput } from "./start-execution.ts";

export interface ChildrenOptions {
  readonly find: (tenantId: string, executionIds: readonly string[]) => Promise<ReadonlyMap<string, ChildFacts>>;
  readonly definition: (tenantId: string, workflowId: string, revision: number) => Promise<CompiledRevision>;
  readonly begin: (tenantId: string, revision: CompiledRevision, execution: NewExecution) => Promise<{ readonly outcome: AppendOutcome }>;
  readonly control: (caller: Caller, executionId: string, command: ControlCommand) => Promise<JsonObject | undefined>;
  readonly now: () => number;
}

interface Wish {
  readonly parent: ExecutionState;
  readonly child: OpenChild;
  readonly isDetached: boolean;
  readonly isCalledOff: boolean;
}

export class Children implements ChildLink {
  readonly #options: ChildrenOptions;

  constructor(options: ChildrenOptions) {
    this.#options = options;
  }

  async look(parent: ExecutionState, definition: Definition, open: readonly OpenChild[], calledOff: ReadonlySet<string>): Promise<readonly ChildReport[]> {
    const found = await this.#options.find(
      parent.tenantId,
      open.map(({ childId }) => childId),
    );
    const reports = await Promise.all(
      open.map(async (child): Promise<ChildReport[]> => {
        const step = definition.stepsByName.get(child.name);
        const wish = { parent, child, isDetached: step !== undefined && isDetached(step), isCalledOff: calledOff.has(child.path) };
        const facts = found.get(child.childId);
        const outcome = child.operation === "action" ? await this.#action(wish, facts) : await this.#undo(wish, facts);
        return outcome ? [{ ...child, outcome }] : [];
      }),
    );
    return reports.flat();
  }

  /** Undefined: it goes on, and its end will be told. */
  async #action(wish: Wish, facts: ChildFacts | undefined): Promise<ReportedOutcome | undefined> {
    const { child, isCalledOff } = wish;
    const { childId } = child;
    if (!facts && isCalledOff) return failedChild("CANCELED", "the child was not started", childId);
    const refused = facts ? undefined : await this.#start(wish);
    if (refused) return refused;
    if (wish.isDetached) return { kind: "succeeded", result: { execution_id: childId } };
    if (!facts) return undefined;
    if (isTerminal(facts.status)) return childOutcome(childId, facts, isCalledOff);
    if (isCalledOff) await this.#callOff(wish);
    return undefined;
  }

  async #undo(wish: Wish, facts: ChildFacts | undefined): Promise<ReportedOutcome | undefined> {
    const { childId } = wish.child;
    if (!facts) return failedChild("CHILD.NOT_FOUND", "the child execution was deleted, so it cannot be undone; resolve the step by hand", childId);
    const isOver = isTerminal(facts.status);
    if (isOver && facts.saga === "compensated") return { kind: "succeeded", result: { execution_id: childId } };
    if (!isOver && (facts.saga === "compensating" || facts.saga === "stuck")) return undefined;
    const answer = await this.#ask(wish, { kind: "compensate", actor: wish.parent.executionId, reason: "the parent execution turned back" });
    if (answer instanceof AppError) return failedChild("CHILD.NOT_COMPENSATED", answer.message, childId);
    return answer?.["nothingToUndo"] === true ? { kind: "succeeded", result: null, nothingToUndo: true } : undefined;
  }

  /** A child past its point of no return goes on to its end, and the parent waits for that. */
  async #callOff(wish: Wish): Promise<void> {
    const { executionId: actor, cancel } = wish.parent;
    const compensate = cancel?.compensate === undefined ? {} : { compensate: cancel.compensate };
    await this.#ask(wish, { kind: "cancel", actor, reason: "the parent execution does not need it any more", endReason: "parent", ...compensate });
  }

  /** The command's answer, or why it is refused in the child's state; throws when nobody could be asked. */
  async #ask({ parent, child }: Wish, command: ControlCommand): Promise<JsonObject | undefined | AppError> {
    const { tenantId, executionId: actor, info } = parent;
    const caller: Caller = { tenantId, actor, scopes: new Set(), correlationId: info?.correlationId ?? "", requestId: "" };
    try {
      return await this.#options.control(caller, child.childId, command);
    } catch (error) {
      if (error instanceof AppError && error.code === "FAILED_PRECONDITION") return error;
      throw error;
    }
  }

  /** Undefined: it exists now. */
  async #start(wish: Wish): Promise<ReportedOutcome | undefined> {
    const { parent, child } = wish;
    const { childId } = child;
    if ((parent.info?.depth ?? 0) >= limits.childDepthMax) {
      return failedChild("LIMIT.DEPTH", `executions below one another are at most ${limits.childDepthMax} deep`, childId);
    }
    try {
      const config = isJsonObject(child.config) ? child.config : {};
      const input = isJsonObject(config["input"]) ? config["input"] : {};
      const revision = await this.#options.definition(parent.tenantId, String(config["workflow"] ?? ""), Number(config["revision"] ?? 0));
      checkInput(revision, input);
      const { outcome } = await this.#options.begin(parent.tenantId, revision, this.#newChild(wish, revision, input));
      if (outcome.kind === "committed" || outcome.kind === "exists") return undefined;
      if (outcome.kind === "refused") return failedChild("SCHEMA", `the input of the child cannot be stored: ${outcome.message}`, childId);
      throw new AppError("STORAGE_UNAVAILABLE", "the child was not started: this replica lost its lease");
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (error.code === "NOT_FOUND") return failedChild("CHILD.NOT_FOUND", error.message, childId);
      if (error.code === "INVALID_ARGUMENT" || error.reason === "PAYLOAD_TOO_LARGE") return failedChild("SCHEMA", error.message, childId);
      throw error;
    }
  }

  #newChild(
    { parent, child, isDetached: detached }: Wish,
    { workflowId, workflowName, revision, definition }: CompiledRevision,
    input: JsonObject,
  ): NewExecution {
    const now = this.#options.now();
    const { info, executionId: parentExecutionId } = parent;
    const shared = { workflowId, workflowName, revision, input, correlationId: info?.correlationId ?? "" };
    const priority = info?.priority ?? limits.priorityDefault;
    const traceparent = info?.traceparent;
    const payload: EventPayloads["execution_created"] = {
      ...shared,
      ...{ priority, triggerType: "parent", parentExecutionId, rootExecutionId: info?.rootExecutionId ?? parentExecutionId },
      depth: (info?.depth ?? 0) + 1,
      ...(detached ? { detached } : {}),
      timeoutAt: now + Math.min(definition.executionTimeoutMs, child.closeMs),
      ...(traceparent === undefined ? {} : { traceparent }),
      ...carriedBy(info),
    };
    const unset = { executionKey: undefined, requestId: undefined, requestHash: undefined };
    return {
      executionId: child.childId,
      start: { ...shared, ...unset, labels: {}, priority, traceparent, createdAt: now },
      created: { type: "execution_created", at: now, stepPath: "", attempt: 0, payload },
    };
  }
}
