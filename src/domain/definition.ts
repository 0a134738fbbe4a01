/**
 * A workflow definition as the engine reads it: checked, defaults filled in, durations in milliseconds, expressions
 * compiled. Made only by `parseDefinition`; the JSON its author wrote is what is stored.
 */
import type { JsonObject } from "../base/json.ts";
import type { BreakerPolicy } from "./circuit-breaker.ts";
import type { Expression, Template } from "./expressions/expression.ts";
import type { ReportedFrom } from "./report-terms.ts";
import type { SecretSlots } from "./secret-slots.ts";
import type { CompensationKind } from "./states.ts";
import type { StepNature } from "./step-type.ts";

export interface Definition {
  readonly inputSchema: JsonObject | undefined;
  readonly outputSchema: JsonObject | undefined;
  /** Start values of variables; undefined when there are none. */
  readonly variables: Template | undefined;
  /** Secrets that SecretRefs name, never values. */
  readonly secretSlots: SecretSlots;
  readonly steps: readonly Step[];
  /** Every step, nested ones too, by name (names are unique in the whole definition). */
  readonly stepsByName: ReadonlyMap<string, Step>;
  readonly outputs: Template | undefined;
  readonly executionTimeoutMs: number;
  readonly onFailure: "compensate" | "keep_effects";
  readonly undoOrder: UndoOrder;
  readonly haltOnStuck: boolean;
  /** How many executions of one group may run; undefined: no limit. */
  readonly concurrency: ConcurrencyLimit | undefined;
  readonly durability: "effect_barriers" | "every_step";
  /** Steps that joined the execution while it ran (see `saga-definition.ts`); absent where none did. */
  readonly joined?: Joined;
}

export interface Joined {
  /** One after the other; the steps of one stage run together. */
  readonly stages: readonly (readonly Step[])[];
  /** Carried out by their callers, beside everything else. */
  readonly selfDriven: readonly Step[];
}

/** A workflow revision ready to run: what is fixed for it and does not stand in the ledger. */
export interface CompiledRevision {
  readonly workflowId: string;
  readonly workflowName: string;
  readonly revision: number;
  readonly definition: Definition;
  /** Template parameters, shown to expressions as `params`. */
  readonly params: JsonObject;
  /** Slot → name of the tenant's secret; a slot that is not in it has a secret of its own name. */
  readonly secretBindings?: Readonly<Record<string, string>>;
}

export interface ConcurrencyLimit {
  /** Undefined: one group for the workflow. */
  readonly key: Expression | undefined;
  readonly maxRunning: number;
  readonly onLimit: "queue" | "reject" | "cancel_running";
}

export type UndoOrder = "reverse" | "sequential" | "parallel";

export interface Step {
  readonly name: string;
  /** Where it stands in the definition, as a proto path (`definition.steps[2].conditional.cases[0].steps[1]`). */
  readonly at: string;
  readonly type: string;
  readonly nature: StepNature;
  /** Its outcome is reported from outside; undefined: this process carries it out. */
  readonly reportedFrom: ReportedFrom | undefined;
  /** Its result is merged into the execution's variables. */
  readonly setsVariables: boolean;
  /** The step whose catch this one is part of: it sees that failure as `error`. */
  readonly catchOf: string | undefined;
  readonly config: StepConfig;
  readonly runIf: Expression | undefined;
  readonly retry: RetryPolicy;
  readonly timeouts: Timeouts;
  /** Undefined: none watches it. */
  readonly breaker: StepBreaker | undefined;
  readonly onError: OnErrorAction;
  readonly catches: readonly Catch[];
  /** Undefined: an effect that declares nothing; it is listed as standing when the saga turns back. */
  readonly kind: CompensationKind | undefined;
  readonly compensation: Compensation | undefined;
  /** An endpoint of a saga: its answers are read as a participant's. */
  readonly isParticipant?: boolean;
  /** Makes the action final once the saga can no longer turn back; only steps of sagas have one. */
  readonly confirmation?: Step;
  readonly exports: ReadonlyMap<string, Expression>;
  readonly idempotencyKey: Template | undefined;
  readonly resultSchema: JsonObject | undefined;
  /** Set for blocks: how they carry out what they hold. */
  readonly block: Block | undefined;
  /**
   * What a block holds: the cases of a conditional in order, the last one named `else`; the branches of a parallel; the one
   * body of a for_each. Empty for leaf steps.
   */
  readonly sequences: readonly Sequence[];
}

export type Block = { readonly kind: "conditional" } | ParallelBlock | ForEachBlock;

export interface ParallelBlock {
  readonly kind: "parallel";
  /** Branches that have to be through: all, one, or a number between. */
  readonly need: number;
  readonly keepLosers: boolean;
}

export interface ForEachBlock {
  readonly kind: "for_each";
  readonly items: Expression | undefined;
  readonly itemVariable: string;
  readonly maxParallel: number;
  readonly toleratedFailures: number;
  /** 0 to 100, of the number of items. */
  readonly toleratedPercentage: number;
  /** Value of one item in the result; undefined takes its last step's result. */
  readonly collect: Expression | undefined;
}

export interface Sequence {
  readonly name: string;
  /** Condition of a conditional's case. */
  readonly when: Expression | undefined;
  readonly steps: readonly Step[];
}

/** A step's own fields, ready to be rendered (see `step-config.ts`). */
export interface StepConfig {
  /** As its author wrote it. */
  readonly source: JsonObject;
  /** The same with every `template` field rendered at run time; constant when no field needs it. */
  readonly rendered: Template;
  /** `expression` and `deferred_template` fields by concrete path. */
  readonly deferred: ReadonlyMap<string, Expression | Template>;
}

export type OnErrorAction = "fail" | "continue" | "halt";

export interface Catch {
  /** Error name patterns; empty catches all. */
  readonly errors: readonly string[];
  readonly when: Expression | undefined;
  readonly steps: readonly Step[];
}

export interface StepBreaker extends BreakerPolicy {
  /** What shares a breaker; undefined: the destination of the call. */
  readonly key: Template | undefined;
}

export interface RetryPolicy {
  readonly initialIntervalMs: number;
  readonly backoffCoefficient: number;
  readonly maximumIntervalMs: number;
  /** Counts the first attempt; 0 means until a timeout. */
  readonly maximumAttempts: number;
  /** 0 to 1: how much of the delay is left to chance. */
  readonly jitter: number;
  readonly nonRetryableErrors: readonly string[];
  readonly retryableErrors: readonly string[];
  readonly retryIf: Expression | undefined;
  readonly ignoreServerDelay: boolean;
}

export interface Timeouts {
  /** Wait for a worker; undefined means no bound. */
  readonly scheduleToStartMs: number | undefined;
  /** Longest silence of one attempt that is reported from outside; undefined: only its time counts. */
  readonly heartbeatMs: number | undefined;
  /** One attempt. */
  readonly startToCloseMs: number;
  /** All attempts together; undefined means no bound. */
  readonly scheduleToCloseMs: number | undefined;
}

export interface Compensation {
  /** The leaf step that undoes; undefined when the kind alone was declared. */
  readonly step: Step | undefined;
  /** What its author called it, else its type; for people only, since paths bear the name of the step that is undone. */
  readonly stepName: string;
  readonly retry: RetryPolicy;
  readonly timeouts: Timeouts;
  /** Undo also a step that definitely failed. */
  readonly compensateOnFailure: boolean;
  /** Undo only with a recorded result; without one the saga gets stuck for a human. */
  readonly undoRequiresOutput: boolean;
  /** The participant copes with an undo that overtakes its action. */
  readonly barrier: boolean;
}

/** Where an action says nothing (contract, RetryPolicy). */
export const actionRetryDefaults: RetryPolicy = {
  initialIntervalMs: 1_000,
  backoffCoefficient: 2,
  maximumIntervalMs: 60_000,
  maximumAttempts: 3,
  jitter: 0.5,
  nonRetryableErrors: [],
  retryableErrors: [],
  retryIf: undefined,
  ignoreServerDelay: false,
};

/** An undo has to succeed or become visible as stuck, so it tries fast, without an attempt limit and fully jittered. */
export const undoRetryDefaults: RetryPolicy = {
  ...actionRetryDefaults,
  initialIntervalMs: 200,
  maximumIntervalMs: 300_000,
  maximumAttempts: 0,
  jitter: 1,
};

/** Budget of an undo, after which the saga is stuck. */
export const undoBudgetMs = 86_400_000;
/** Executions end with TIMEOUT.EXECUTION after it unless the definition says otherwise: 7 days. */
export const executionTimeoutMsDefault = 7 * 86_400_000;

/** Variable names a definition may use besides those a field adds. */
export const scopeVariables = ["execution_id", "correlation_id", "tenant_id", "saga", "workflow", "trigger", "params", "variables", "now", "steps"] as const;
