/** Compiled definitions by revision. Revisions are immutable, so an entry is never stale, only dropped when unused. */
import { AppError, invariant } from "../base/errors.ts";
import { type JsonObject, jsonBytes } from "../base/json.ts";
import type { CompiledRevision } from "../domain/definition.ts";
import type { ExecutionState } from "../domain/execution-state.ts";
import { parseDefinition } from "../domain/parse-definition.ts";
import { sagaBase, withJoined } from "../domain/saga-definition.ts";
import type { StepTypes } from "../domain/step-type.ts";

/** Compiled definitions kept in memory, and bytes of their source: a compiled one takes several times that. The least recently used one goes first. */
const cachedMax = 2_000;
const cachedBytesMax = 32 * 1024 * 1024;

export interface StoredRevision {
  readonly workflowId: string;
  readonly workflowName: string;
  readonly revision: number;
  readonly definition: JsonObject;
  readonly parameters: JsonObject;
  readonly secretBindings?: Readonly<Record<string, string>>;
}

export interface DefinitionsOptions {
  readonly stepTypes: StepTypes;
  readonly load: (tenantId: string, workflowId: string, revision: number) => Promise<StoredRevision | undefined>;
  readonly observer?: { read(result: "hit" | "miss"): void } | undefined;
}

export class Definitions {
  readonly #options: DefinitionsOptions;
  readonly #compiled = new Map<string, { readonly compiled: CompiledRevision; readonly bytes: number }>();
  readonly #loading = new Map<string, Promise<CompiledRevision>>();
  #bytes = 0;

  constructor(options: DefinitionsOptions) {
    this.#options = options;
  }

  /** Throws REVISION_NOT_FOUND; a stored definition that no longer parses is a bug and stops that execution. */
  async get(tenantId: string, workflowId: string, revision: number): Promise<CompiledRevision> {
    const key = JSON.stringify([tenantId, workflowId, revision]);
    const known = this.#compiled.get(key);
    this.#options.observer?.read(known ? "hit" : "miss");
    if (known) {
      this.#compiled.delete(key);
      this.#compiled.set(key, known);
      return known.compiled;
    }
    const loading = this.#loading.get(key) ?? this.#load(key, tenantId, workflowId, revision).finally(() => this.#loading.delete(key));
    this.#loading.set(key, loading);
    return await loading;
  }

  async #load(key: string, tenantId: string, workflowId: string, revision: number): Promise<CompiledRevision> {
    const stored = await this.#options.load(tenantId, workflowId, revision);
    if (!stored) throw new AppError("REVISION_NOT_FOUND", `revision ${revision} of workflow ${workflowId} does not exist`);
    const compiled = this.compile(stored);
    const bytes = jsonBytes(stored.definition);
    this.#compiled.set(key, { compiled, bytes });
    this.#bytes += bytes;
    for (const [oldest, entry] of this.#compiled) {
      if (this.#compiled.size <= cachedMax && this.#bytes <= cachedBytesMax) break;
      this.#compiled.delete(oldest);
      this.#bytes -= entry.bytes;
    }
    return compiled;
  }

  /** What an execution runs: its revision with the steps that joined; of a standalone saga these alone. Throws as `get`. */
  async of(state: ExecutionState): Promise<CompiledRevision> {
    return this.joined(await this.baseOf(state), state);
  }

  /** The revision an execution was started with; of a standalone saga its terms without a step. */
  async baseOf(state: ExecutionState): Promise<CompiledRevision> {
    invariant(state.info, `execution ${state.executionId} has a first event`);
    const { info, tenantId } = state;
    return info.saga ? sagaBase(state) : await this.get(tenantId, info.workflowId, info.revision);
  }

  joined = (base: CompiledRevision, state: ExecutionState): CompiledRevision => withJoined(base, state, this.#options.stepTypes);

  compile(stored: StoredRevision): CompiledRevision {
    const parsed = parseDefinition(stored.definition, this.#options.stepTypes);
    if (!parsed.ok) {
      const first = parsed.fault.violations[0];
      throw new AppError("INTERNAL_BUG", `revision ${stored.revision} of ${stored.workflowId} does not parse: ${first?.field} ${first?.description}`);
    }
    const { workflowId, workflowName, revision, secretBindings = {} } = stored;
    return { workflowId, workflowName, revision, definition: parsed.value.definition, params: stored.parameters, secretBindings };
  }
}
