/**
 * What a server needs before its first caller: the pepper behind all key hashes, and one key of tenant `default`. With an
 * embedded database both are made at the first start and kept in the data folder, readable by its owner only.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseId, systemIds } from "./base/ids.ts";
import type { Config } from "./config.ts";
import { formatApiKey, hashSecret, newApiKey, parseApiKey } from "./rpc/api-keys.ts";
import type { PolicyTable } from "./rpc/interceptors/policy.ts";
import type { KeyRepository } from "./store/key-repository.ts";

export interface ServerSecrets {
  readonly pepper: Uint8Array;
  readonly pageTokenKey: Uint8Array;
  readonly taskTokenKey: Uint8Array;
}

/** Throws one sentence when nothing is configured and there is no data folder to keep a generated one. */
export async function readSecrets(config: Config, embedded: boolean): Promise<ServerSecrets> {
  if (config.masterKey === undefined && !embedded) throw new Error("Set PAWF_MASTER_KEY: with DATABASE_URL the server keeps no secret of its own.");
  const master = config.masterKey ?? (await keptText(config, "master.key", () => randomBytes(32).toString("base64url")));
  const derive = (purpose: string): Uint8Array => createHash("sha256").update(`${purpose}\n${master}`).digest();
  return { pepper: derive("api key pepper"), pageTokenKey: derive("page token"), taskTokenKey: derive("task token") };
}

/** The key of tenant `default`: configured, or generated once and kept. Undefined when others manage the keys. */
export async function ensureFirstKey(
  config: Config,
  embedded: boolean,
  keys: KeyRepository,
  pepper: Uint8Array,
  policies: PolicyTable,
): Promise<string | undefined> {
  await keys.ensureTenant("default", "Default tenant");
  const text =
    config.adminKey ??
    (embedded ? await keptText(config, "dev.key", () => formatApiKey(newApiKey(parseId("key", systemIds.next("key")) as string))) : undefined);
  if (text === undefined) return undefined;
  const key = parseApiKey(text);
  if (!key) throw new Error("PAWF_ADMIN_KEY must have the form pawf_<26 characters>_<43 characters>.");
  if ((await keys.findKey(key.keyId)) === undefined) {
    const secretHash = hashSecret(key.secret, pepper);
    await keys.createKey({ tenantId: "default", name: embedded ? "development" : "admin", scopes: allScopes(policies), secretHash, keyId: key.keyId });
  }
  return text;
}

/** Every scope that any rpc asks for, and those of the plain HTTP routes. */
function allScopes(policies: PolicyTable): readonly string[] {
  const scopes = new Set(["monitoring:read", "tenants:admin"]);
  for (const rule of policies.values()) for (const scope of rule.scopes) scopes.add(scope);
  return [...scopes].sort();
}

async function keptText(config: Config, name: string, make: () => string): Promise<string> {
  const file = path.join(config.dataDir, name);
  const known = await readFile(file, "utf8").catch(() => undefined);
  if (known !== undefined && known.trim() !== "") return known.trim();
  await mkdir(config.dataDir, { recursive: true, mode: 0o711 });
  await writeFile(file, `${make()}\n`, { mode: 0o600, flag: "wx" }).catch(() => undefined);
  return (await readFile(file, "utf8")).trim();
}
