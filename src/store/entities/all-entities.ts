/** Every table (`workflow_execution_steps` is a view), in the order of the migration. The schema test holds this list against the migrated database. */
import { ApiKey } from "./api-key.ts";
import { AuditLine } from "./audit-line.ts";
import { DestinationWait } from "./destination-wait.ts";
import { EventWait } from "./event-wait.ts";
import { ExecutionCommand } from "./execution-command.ts";
import { ExecutionEvent } from "./execution-event.ts";
import { ExecutionOutbox } from "./execution-outbox.ts";
import { File } from "./file.ts";
import { FileChunk } from "./file-chunk.ts";
import { IdempotencyKey } from "./idempotency-key.ts";
import { NotificationCount } from "./notification-count.ts";
import { Replica } from "./replica.ts";
import { Secret } from "./secret.ts";
import { SecretVersion } from "./secret-version.ts";
import { Signal } from "./signal.ts";
import { Task } from "./task.ts";
import { TaskWorker } from "./task-worker.ts";
import { TemplateUsage } from "./template-usage.ts";
import { TemplateUsageCursor } from "./template-usage-cursor.ts";
import { TemplateUsageTotal } from "./template-usage-total.ts";
import { Tenant } from "./tenant.ts";
import { Workflow } from "./workflow.ts";
import { WorkflowExecution } from "./workflow-execution.ts";
import { WorkflowInstance } from "./workflow-instance.ts";
import { WorkflowRevision } from "./workflow-revision.ts";
import { WorkflowSlot } from "./workflow-slot.ts";
import { WorkflowSweep } from "./workflow-sweep.ts";
import { WorkflowTemplate } from "./workflow-template.ts";
import { WorkflowTemplateVersion } from "./workflow-template-version.ts";
import { ServerKey, TenantKey } from "./wrapped-key.ts";

export const allEntities = [
  Tenant,
  ApiKey,
  AuditLine,
  Replica,
  WorkflowTemplate,
  WorkflowTemplateVersion,
  Workflow,
  WorkflowRevision,
  WorkflowExecution,
  WorkflowInstance,
  ExecutionEvent,
  ExecutionCommand,
  ExecutionOutbox,
  EventWait,
  Signal,
  IdempotencyKey,
  WorkflowSweep,
  WorkflowSlot,
  ServerKey,
  TenantKey,
  Secret,
  SecretVersion,
  TemplateUsage,
  TemplateUsageTotal,
  TemplateUsageCursor,
  Task,
  TaskWorker,
  NotificationCount,
  File,
  FileChunk,
  DestinationWait,
] as const;
