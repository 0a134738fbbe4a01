/**
 * What the domain has to know of a step type: its nature and which of its fields hold expressions. The rules that check
 * a definition and the decision what runs next read this; how a step acts is the business of `src/steps`.
 */
import type { ErrorReason } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import type { Kind } from "./expressions/value.ts";
import type { ReportedFrom } from "./report-terms.ts";
import type { CompensationKind } from "./states.ts";

/**
 * `pure` only computes and rides along with the next barrier · `effect` touches the world: its intent is durable before
 * it acts · `wait` parks the execution · `block` holds steps and is carried out by the domain itself.
 */
export type StepNature = "pure" | "effect" | "wait" | "block";

/** How one field of a step's configuration is read. */
export interface FieldRule {
  /**
   * `template`: strings in it may hold `{{ … }}`, rendered before the step runs · `expression`: is one CEL expression,
   * evaluated by the handler · `deferred_template`: as `template`, but rendered by the handler (once per element)
   * · `html`: as `template`, with every value escaped.
   */
  readonly as: "template" | "expression" | "deferred_template" | "html";
  /** Variables this field sees beside the usual ones (`input`, `it`, `result`, `error` …). */
  readonly adds?: readonly string[];
  /** Kinds of value that an `expression` may have; one that surely has another is refused at save. */
  readonly kinds?: readonly Kind[];
}

export interface StepTypeSpec {
  /** The field name in the step's oneof, for example `http_request`. */
  readonly type: string;
  readonly nature: StepNature;
  /**
   * Rules by path inside the configuration; `[]` stands for any list index, a rule covers everything below it:
   * `{ url: …, headers: …, "operations[].filter": … }`. A string with `{{` outside any rule is refused at save.
   */
  readonly fields: Readonly<Record<string, FieldRule>>;
  /** Where its SecretRef fields stand: `auth.bearer`, or `secret_headers.*` for every member of a map. */
  readonly secretRefs?: readonly string[];
  /**
   * Nothing in this process carries it out: a worker that takes its task (`queue`), or whoever was handed the token
   * (`caller`), reports the outcome. Only for effects.
   */
  readonly reportedFrom?: ReportedFrom;
  /** Its result is merged into the execution's variables. */
  readonly setsVariables?: boolean;
  /** Time one attempt may take when the definition says nothing, in milliseconds. */
  readonly startToCloseMs: number;
  readonly startToCloseMsMax: number;
  /** Whether an effect of this configuration needs undoing; asked when the definition does not say. */
  naturalKind?(config: JsonObject): CompensationKind | undefined;
  /** Host and port that a rendered configuration calls, as `https://host:443`; breakers and limits go by it. Undefined: nobody. */
  destination?(config: JsonObject): string | undefined;
  /** Refusals the contract's field rules cannot express; `path` is relative to the configuration. */
  check?(config: JsonObject, report: (path: string, reason: ErrorReason, description: string) => void): void;
}

/** The step types a server knows, by name. */
export type StepTypes = ReadonlyMap<string, StepTypeSpec>;
