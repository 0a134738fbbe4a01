/** `pawf key list | create | revoke` and `pawf task list-queues`: who may, and who works. */
import { randomUUID } from "node:crypto";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { ApiKeySchema } from "#gen/pyairtable/workflow/v1/access_pb.js";
import { CreateApiKeyResponseSchema } from "#gen/pyairtable/workflow/v1/access_service_pb.js";
import { TaskQueueSchema } from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import type { Call, Command } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { listOptions, printList, printOne } from "../show.ts";
import { UsageError } from "../usage-error.ts";

export const keyCommands: readonly Command[] = [
  {
    words: "key list",
    operands: [],
    about: "API keys of the tenant, newest first; never their secrets",
    options: listOptions,
    examples: ["pawf key list"],
    async run(call) {
      const columns = ["id", "name", "scopes", "expire_time", "revoke_time"].map((name) => ({ head: name.replace("_time", "s"), path: name }));
      await printList(call, { name: "api_keys", schema: ApiKeySchema, columns }, async (pageSize, pageToken) => {
        const page = await call.connection.access.listApiKeys({ pageSize, pageToken }, { signal: call.signal });
        return { items: page.apiKeys, nextPageToken: page.nextPageToken };
      });
      return exit.ok;
    },
  },
  {
    words: "key create",
    operands: ["NAME"],
    about: "make an API key; prints the whole key, which nobody can show again",
    options: {
      scope: { kind: "texts", value: "SCOPE", about: "what it may do, for example executions:read" },
      expires: { kind: "text", value: "TIME", about: "when it ends, for example 2027-06-30T00:00:00Z [with the key that asks]" },
    },
    examples: ["pawf key create nightly-import --scope executions:start --scope executions:read"],
    run: createKey,
  },
  {
    words: "key revoke",
    operands: ["KEY_ID"],
    about: "end an API key at once, with what it has open",
    options: { reason: { kind: "text", value: "WHY", about: "kept in the audit log" } },
    examples: ["pawf key revoke key_01M851KAV9FWTBZ3N43SZ12HKB --reason leaked"],
    async run(call) {
      const { args, connection, signal } = call;
      const request = { keyId: args.text("KEY_ID"), reason: args.text("reason"), requestId: randomUUID() };
      const { apiKey } = await connection.access.revokeApiKey(request, { signal });
      if (!apiKey) return exit.failed;
      printOne(call, ApiKeySchema, apiKey, () => [`${apiKey.id}  revoked`]);
      return exit.ok;
    },
  },
];

export const taskCommands: readonly Command[] = [
  {
    words: "task list-queues",
    operands: [],
    about: "task queues: what waits, what is at work, how many workers",
    options: listOptions,
    examples: ["pawf task list-queues"],
    async run(call) {
      const columns = [
        { head: "queue", path: "name" },
        { head: "backlog", path: "backlog" },
        { head: "in flight", path: "in_flight" },
        { head: "oldest", path: "oldest_age" },
        { head: "workers", path: "workers" },
      ];
      await printList(call, { name: "task_queues", schema: TaskQueueSchema, columns }, async (pageSize, pageToken) => {
        const page = await call.connection.tasks.listTaskQueues({ pageSize, pageToken }, { signal: call.signal });
        return { items: page.taskQueues, nextPageToken: page.nextPageToken };
      });
      return exit.ok;
    },
  },
];

async function createKey(call: Call): Promise<number> {
  const { args, connection, screen, signal } = call;
  const scopes = args.texts("scope");
  if (scopes.length === 0) throw new UsageError("--scope is missing: a key holds what it is given and nothing else", args.command);
  const answer = await connection.access.createApiKey(
    { name: args.text("NAME"), scopes: [...scopes], requestId: randomUUID(), ...(args.has("expires") ? { expireTime: timeOf(args.text("expires")) } : {}) },
    { signal },
  );
  printOne(call, CreateApiKeyResponseSchema, answer, () => [answer.secret]);
  screen.say(`${answer.apiKey?.id} made; its key is shown this once`);
  return exit.ok;
}

function timeOf(text: string) {
  const date = new Date(text);
  if (!/^\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$/.test(text) || Number.isNaN(date.getTime())) {
    throw new UsageError("--expires takes a moment with its zone, for example 2027-06-30T00:00:00Z", "key create");
  }
  return timestampFromDate(date);
}
