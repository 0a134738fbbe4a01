/**
 * Task tokens: the right to report what became of one attempt of one operation. Whoever carries the attempt out gets the
 * token with it and hands it back with the outcome. Nobody can make or change one, and it is worth nothing in another
 * tenant. The attempt in it rises strictly, over replicas and restarts, because an attempt is in the ledger before its
 * token leaves; so the newest of two tokens is known without asking anybody.
 *
 * Bytes, in base64url: version (1) · mac (16, truncated HMAC-SHA-256 over tenant and rest) · execution (16) · operation (1) ·
 * generation (2) · attempt (4) · step path (UTF-8, at most 640 bytes by the limits of definitions).
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { invariant } from "../base/errors.ts";
import { formatId, hexToUuid, parseId } from "../base/ids.ts";

export const operations = ["action", "compensate", "confirm"] as const;
export type Operation = (typeof operations)[number];

/** One attempt of one operation of one step. */
export interface OperationRef {
  readonly executionId: string;
  readonly path: string;
  readonly operation: Operation;
  /** Counts the undos of a step, from 0. */
  readonly generation: number;
  /** From 1. */
  readonly attempt: number;
}

/** Longest token in characters; the contract's limit of the field. */
export const taskTokenCharactersMax = 1_024;

const version = 1;
const macBytes = 16;
const bodyOffset = 1 + macBytes;
const pathOffset = 16 + 1 + 2 + 4;

export function sealToken(key: Uint8Array, tenantId: string, ref: OperationRef): string {
  const body = bodyOf(ref);
  const token = Buffer.concat([Buffer.of(version), macOf(key, tenantId, body), body]).toString("base64url");
  invariant(token.length <= taskTokenCharactersMax, `the token of ${ref.path} fits its field`);
  return token;
}

/** What the token stands for; undefined when it was not made here, was changed, or belongs to another tenant. */
export function openToken(key: Uint8Array, tenantId: string, token: string): OperationRef | undefined {
  const bytes = token.length <= taskTokenCharactersMax ? Buffer.from(token, "base64url") : Buffer.alloc(0);
  // The decoder skips characters it does not know; only the one way to write these bytes is taken.
  if (bytes.length <= bodyOffset + pathOffset || bytes[0] !== version || bytes.toString("base64url") !== token) return undefined;
  const body = bytes.subarray(bodyOffset);
  if (!timingSafeEqual(bytes.subarray(1, bodyOffset), macOf(key, tenantId, body))) return undefined;
  const operation = operations[body.readUInt8(16)];
  if (operation === undefined) return undefined;
  return {
    executionId: formatId("execution", hexToUuid(body.subarray(0, 16).toString("hex"))),
    operation,
    generation: body.readUInt16BE(17),
    attempt: body.readUInt32BE(19),
    path: body.subarray(pathOffset).toString("utf8"),
  };
}

/** Id of the task that carries this attempt to a worker: derived, so that it is the same wherever and whenever it is asked for. */
export function taskIdOf(ref: OperationRef): string {
  const body = bodyOf(ref);
  const hash = createHash("sha256").update("task\n").update(body).digest();
  // The time of the execution's id in front, so that tasks sort about as their executions do.
  const bytes = Buffer.concat([body.subarray(0, 6), hash.subarray(0, 10)]);
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f);
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f);
  return formatId("task", hexToUuid(bytes.toString("hex")));
}

function bodyOf({ executionId, path, operation, generation, attempt }: OperationRef): Buffer {
  const uuid = parseId("execution", executionId);
  invariant(uuid, `${executionId} is an execution id`);
  const head = Buffer.alloc(pathOffset);
  head.set(Buffer.from(uuid.replaceAll("-", ""), "hex"));
  head.writeUInt8(operations.indexOf(operation), 16);
  head.writeUInt16BE(generation, 17);
  head.writeUInt32BE(attempt, 19);
  return Buffer.concat([head, Buffer.from(path, "utf8")]);
}

function macOf(key: Uint8Array, tenantId: string, body: Uint8Array): Buffer {
  return createHmac("sha256", key).update(`${tenantId}\n`).update(body).digest().subarray(0, macBytes);
}
