/**
 * What a server needs before its first caller: the master keys, what is derived for the server itself, and one key of tenant
 * `default`. With an embedded database the master key and that key are made at the first start and kept in the data folder,
 * readable by its owner only.
 */
import { createHash, randomBytes } from "node:crypto";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { parseId, systemIds } from "./base/ids.ts";
import type { Config } from "./config.ts";
import { formatApiKey, hashSecret, newApiKey, parseApiKey } from "./rpc/api-keys.ts";
import type { PolicyTable } from "./rpc/interceptors/policy.ts";
import type { KeyRepository } from "./store/key-repository.ts";

/**
 * The master keys as texts, the current one first, then those that only open. An embedded server's own key stays among them
 * when another one is configured. Throws one sentence when nothing is configured and there is no data folder to keep one.
 */
export async function readMasterKeys(config: Config, embedded: boolean): Promise<readonly [string, ...string[]]> {
  const { masterKey, masterKeyRing } = config;
  if (masterKey !== undefined) return [masterKey, ...masterKeyRing, ...(embedded ? await storedText(config, masterKeyFile) : [])];
  if (!embedded) throw new Error("Set PAWF_MASTER_KEY: with DATABASE_URL the server keeps no secret of its own.");
  return [await keptText(config, masterKeyFile, () => randomBytes(32).toString("base64url")), ...masterKeyRing];
}

export interface ServerSecrets {
  readonly pepper: Uint8Array;
  readonly pageTokenKey: Uint8Array;
  readonly taskTokenKey: Uint8Array;
  /** Seals what replicas share in Redis; 32 bytes. */
  readonly cacheKey: Uint8Array;
  /** Of request fingerprints that cover a secret value. */
  readonly fingerprintKey: Uint8Array;
  /** Seals answers that hold a secret while they are kept for repeats; 32 bytes. */
  readonly answerKey: Uint8Array;
}

/** What the server needs for itself, from the root key that the database keeps: the same whatever the master key is now. */
export function deriveSecrets(root: string): ServerSecrets {
  const derive = (purpose: string): Uint8Array => createHash("sha256").update(`${purpose}\n${root}`).digest();
  return {
    pepper: derive("api key pepper"),
    pageTokenKey: derive("page token"),
    taskTokenKey: derive("task token"),
    cacheKey: derive("shared cache"),
    fingerprintKey: derive("request fingerprint"),
    answerKey: derive("kept answer"),
  };
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
  const scopes = allScopes(policies);
  const found = await keys.findKey(key.keyId);
  if (found === undefined) {
    const secretHash = hashSecret(key.secret, pepper);
    await keys.createKey({ tenantId: "default", name: embedded ? "development" : "admin", scopes, secretHash, keyId: key.keyId });
  } else if (scopes.some((scope) => !found.scopes.includes(scope))) {
    // A newer release asks for scopes that there were not when the key was made.
    await keys.setScopes(key.keyId, [...new Set([...found.scopes, ...scopes])].sort());
  }
  return text;
}

/** The operator's, who stands above the tenants: no key can pass it on. */
const operatorScope = "tenants:admin";

/** Every scope that any rpc asks for, and those of the plain HTTP routes. */
function allScopes(policies: PolicyTable): readonly string[] {
  const scopes = new Set(["monitoring:read", operatorScope]);
  for (const rule of policies.values()) for (const scope of rule.scopes) scopes.add(scope);
  return [...scopes].sort();
}

/** Those that a key may hold which a tenant makes. */
export function grantableScopes(policies: PolicyTable): readonly string[] {
  return allScopes(policies).filter((scope) => scope !== operatorScope);
}

const masterKeyFile = "master.key";

/** The text of that file as a list; empty when there is none. */
async function storedText(config: Config, name: string): Promise<string[]> {
  const known = await readFile(path.join(config.dataDir, name), "utf8").catch(() => "");
  return known.trim() === "" ? [] : [known.trim()];
}

async function keptText(config: Config, name: string, make: () => string): Promise<string> {
  const file = path.join(config.dataDir, name);
  const [known] = await storedText(config, name);
  if (known !== undefined) return known;
  await mkdir(config.dataDir, { recursive: true, mode: 0o711 });
  await writeFile(file, `${make()}\n`, { mode: 0o600, flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
    // Another server that starts on the same folder was first.
    if (error.code !== "EEXIST") throw error;
  });
  return (await readFile(file, "utf8")).trim();
}
