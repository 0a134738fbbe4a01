/** The inbox between replicas: who asks leaves a command for an execution, its driver takes it and leaves the answer. */
import { randomUUID } from "node:crypto";
import { formatId, parseId } from "../base/ids.ts";
import type { JsonObject } from "../base/json.ts";
import type { ControlCommand } from "../domain/control-command.ts";
import type { Database } from "./database.ts";
import { guarded } from "./database-error.ts";
import {
  answerCommand,
  type CommandKey,
  type CommandStatus,
  clearCommands,
  lookAtCommand,
  postCommand,
  takeCommands,
  withdrawCommand,
} from "./sql/execution-commands.ts";

/** Names one command under way. */
export type PostedCommand = CommandKey;

export interface TakenCommand extends PostedCommand {
  readonly executionId: string;
  readonly command: ControlCommand;
}

export interface Inbox {
  /** Undefined when nobody drives the execution at this moment, or there is none. */
  post(tenantId: string, executionId: string, command: ControlCommand): Promise<PostedCommand | undefined>;
  /** Undefined when it was cleared away. */
  look(posted: PostedCommand): Promise<CommandStatus | undefined>;
  /** Removes the command; the answer, if there is one. */
  withdraw(posted: PostedCommand): Promise<JsonObject | undefined>;
  /** Commands for executions that the replica drives, oldest first, each once. */
  take(replicaId: string): Promise<readonly TakenCommand[]>;
  answer(posted: PostedCommand, answer: JsonObject): Promise<void>;
  /** Removes commands older than `ageMs`. */
  clear(ageMs: number): Promise<void>;
}

export function createInbox({ pool }: Pick<Database, "pool">): Inbox {
  return {
    async post(tenantId, executionId, command) {
      const executionUuid = parseId("execution", executionId);
      if (executionUuid === undefined) return undefined;
      const posted = { tenantId, executionUuid, commandId: randomUUID() };
      return (await guarded(() => postCommand(pool, posted, JSON.stringify(command)))) ? posted : undefined;
    },
    look: (posted) => guarded(() => lookAtCommand(pool, posted)),
    withdraw: (posted) => guarded(() => withdrawCommand(pool, posted)),
    async take(replicaId) {
      const rows = await guarded(() => takeCommands(pool, replicaId));
      rows.sort((a, b) => a.createTime.getTime() - b.createTime.getTime());
      return rows.map(({ createTime: _, command, ...row }) => ({
        ...row,
        command: command as unknown as ControlCommand,
        executionId: formatId("execution", row.executionUuid),
      }));
    },
    answer: (posted, answer) => guarded(() => answerCommand(pool, posted, JSON.stringify(answer))),
    clear: (ageMs) => guarded(() => clearCommands(pool, ageMs)),
  };
}
