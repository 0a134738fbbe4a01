/** A command for an execution that another replica drives. Written by plain SQL only; here for the schema. */
import { defineEntity, p } from "@mikro-orm/core";
import type { JsonObject } from "../../base/json.ts";

export const executionCommandSchema = defineEntity({
  name: "ExecutionCommand",
  tableName: "execution_commands",
  properties: {
    tenantId: p.text().primary(),
    executionId: p.uuid().primary(),
    id: p.uuid().primary(),
    command: p.json<JsonObject>().columnType("json"),
    takenBy: p.uuid().nullable(),
    answer: p.json<JsonObject>().columnType("json").nullable(),
    createTime: p.datetime(3).defaultRaw("now()"),
  },
});

export class ExecutionCommand extends executionCommandSchema.class {}
executionCommandSchema.setClass(ExecutionCommand);
