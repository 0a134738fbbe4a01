/** A tenant beside `default`, with a key of its own. */
import { createHash, randomUUID } from "node:crypto";
import { Client } from "pg";
import { parseId } from "../../../src/base/ids.ts";
import { formatApiKey, hashSecret, newApiKey } from "../../../src/rpc/api-keys.ts";
import type { Clients } from "./connect-client.ts";
import { connect } from "./connect-client.ts";
import type { Fixture } from "./fixture.ts";

export async function addTenant(fixture: Fixture, tenantId: string, scopes: readonly string[]): Promise<Clients> {
  const { apiKey } = await addKey(fixture, tenantId, scopes);
  return connect({ url: fixture.server.url, apiKey });
}

/** A key of that tenant, which is made if need be. */
export async function addKey({ database, server }: Pick<Fixture, "database" | "server">, tenantId: string, scopes: readonly string[]) {
  const key = newApiKey(randomUUID());
  const pepper = createHash("sha256").update(`api key pepper\n${server.options.masterKey}`).digest();
  const client = new Client({ connectionString: database.databaseUrl });
  await client.connect();
  try {
    await client.query("insert into tenants (id) values ($1) on conflict do nothing", [tenantId]);
    await client.query("insert into api_keys (id, tenant_id, name, secret_hash, scopes) values ($1, $2, 'test', $3, $4)", [
      parseId("key", key.keyId),
      tenantId,
      hashSecret(key.secret, pepper),
      scopes,
    ]);
  } finally {
    await client.end();
  }
  return { keyId: key.keyId, apiKey: formatApiKey(key) };
}
