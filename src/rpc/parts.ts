/** What the services are made of; `app.ts` hands it in. */
import type { Clock } from "../base/clock.ts";
import type { Log } from "../base/log.ts";
import type { StepTypes } from "../domain/step-type.ts";
import type { Definitions } from "../engine/definitions.ts";
import type { Engine } from "../engine/engine.ts";
import type { Progress } from "../engine/progress.ts";
import type { Signals } from "../engine/signals.ts";
import type { Starter } from "../engine/start-execution.ts";
import type { SagaStarter } from "../engine/start-saga.ts";
import type { TaskBoard } from "../engine/task-board.ts";
import type { TaskClock } from "../engine/task-clock.ts";
import type { TenantFeeds } from "../engine/tenant-feed.ts";
import type { WorkflowSweeps } from "../engine/workflow-sweeps.ts";
import type { StepHandler } from "../steps/step-handler.ts";
import type { AuditRepository } from "../store/audit-repository.ts";
import type { ExecutionRepository } from "../store/execution-repository.ts";
import type { FileRepository } from "../store/file-repository.ts";
import type { KeyRepository } from "../store/key-repository.ts";
import type { SecretRepository } from "../store/secret-repository.ts";
import type { StatsRepository } from "../store/stats-repository.ts";
import type { TaskStore } from "../store/task-store.ts";
import type { TemplateRepository } from "../store/template-repository.ts";
import type { TenantRepository } from "../store/tenant-repository.ts";
import type { UsageRepository } from "../store/usage-repository.ts";
import type { WorkflowRepository } from "../store/workflow-repository.ts";
import type { HoldKey } from "./open-keys.ts";
import type { OpenStreams } from "./open-streams.ts";
import type { SelfReport } from "./process-figures.ts";

export interface RpcParts {
  readonly workflows: WorkflowRepository;
  readonly templates: TemplateRepository;
  readonly usage: UsageRepository;
  readonly stats: StatsRepository;
  readonly self: SelfReport;
  readonly executions: ExecutionRepository;
  readonly secrets: SecretRepository;
  readonly audit: AuditRepository;
  readonly keys: Pick<KeyRepository, "issueKey" | "listKeys" | "revokeKey" | "rotateKey">;
  /** To be called behind the commit of a revocation or rotation: what the key opened before is judged anew, here and on every other replica. */
  readonly keyChanged: (keyId: string) => void;
  /** Of the HMACs of keys' secrets. */
  readonly keyPepper: Uint8Array;
  /** What keys may hold that a tenant makes. */
  readonly grantableScopes: readonly string[];
  readonly tenants: TenantRepository;
  /** To be called behind the commit of a change of a tenant's settings: here and on every other replica it holds from then on. */
  readonly tenantChanged: (tenantId: string) => void;
  /** Ends long polls with the key that they came in by. */
  readonly holdKey: HoldKey;
  readonly files: FileRepository;
  /** A file of that size has been uploaded, and steps will want it. */
  readonly expectFile: (sizeBytes: number) => void;
  readonly engine: Engine;
  readonly starter: Starter;
  readonly signals: Signals;
  readonly sagas: SagaStarter;
  readonly definitions: Definitions;
  readonly progress: Progress;
  readonly tenantFeeds: TenantFeeds;
  /** To be called after every change of a tenant's workflow: starts through this replica see it at once, those of others soon. */
  readonly workflowsChanged: (tenantId: string) => void;
  readonly sweeps: WorkflowSweeps;
  /** Step types as this tenant's definitions are checked by: what it may reach is judged by its own list too. */
  readonly stepTypesOf: (tenantId: string) => Promise<StepTypes>;
  readonly handlers: ReadonlyMap<string, StepHandler>;
  /** Key of the MACs in page tokens. */
  readonly pageTokenKey: Uint8Array;
  /** Seals and opens the tokens that reports come with. */
  readonly taskTokenKey: Uint8Array;
  readonly tasks: TaskStore;
  readonly taskBoard: TaskBoard;
  readonly taskClock: Pick<TaskClock, "saw">;
  /** Streams of tasks that are open. */
  readonly taskStreams: OpenStreams;
  /** Streams of the audit log that are open. */
  readonly auditStreams: OpenStreams;
  readonly clock: Clock;
  readonly log: Log;
}
