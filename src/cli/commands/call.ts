/** `pawf call`: any rpc by its name, JSON in and out. */

import type { DescMethod } from "@bufbuild/protobuf";
import { create, type DescMessage, fromJson, type JsonValue, type MessageShape } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { messageOf } from "../../base/errors.ts";
import type { Call, Command } from "../command.ts";
import { exit } from "../exit-codes.ts";
import { readValue } from "../input-values.ts";
import { findMethod } from "../services.ts";
import { plainJson, printJson } from "../show.ts";
import { UsageError } from "../usage-error.ts";

export const callCommand: Command = {
  words: "call",
  operands: ["SERVICE/METHOD"],
  about: "any rpc by its name; a stream gives one JSON value per line",
  options: { data: { kind: "text", short: "d", value: "JSON", about: "request, in the contract's names: JSON, @FILE or - (stdin) [{}]" } },
  examples: [`pawf call WorkflowService/CountExecutions -d '{"filter": "state = COMPLETED"}'`],
  run: callMethod,
};

async function callMethod(call: Call): Promise<number> {
  const { args, connection, screen, format, signal } = call;
  const method = findMethod(args.text("SERVICE/METHOD"));
  const request = readRequest(method, args.has("data") ? await readValue(args.text("data"), call.input) : {});
  const client = createClient(method.parent, connection.transport) as Record<string, (request: unknown, options: { signal: AbortSignal }) => unknown>;
  const answer = client[method.localName]?.(request, { signal });
  if (method.methodKind === "server_streaming") {
    for await (const message of answer as AsyncIterable<MessageShape<DescMessage>>) screen.json(JSON.stringify(plainJson(method.output, message)));
    return exit.ok;
  }
  const message = (await answer) as MessageShape<DescMessage>;
  printJson(plainJson(method.output, message), format === "table" ? "json" : format, screen);
  return exit.ok;
}

/** Throws UsageError naming the field that does not fit. */
export function readRequest(method: DescMethod, json: JsonValue): MessageShape<DescMessage> {
  if (method.methodKind !== "unary" && method.methodKind !== "server_streaming") {
    throw new UsageError(`${method.name} takes a stream, which this command does not send`, "call");
  }
  try {
    return json === null ? create(method.input) : fromJson(method.input, json);
  } catch (error) {
    throw new UsageError(
      `the request does not fit ${method.input.name}: ${messageOf(error).replace(/^cannot decode (message|field) \S+ from JSON: /, "")}`,
      "call",
    );
  }
}
