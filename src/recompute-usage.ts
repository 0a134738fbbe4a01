/**
 * `node src/main.ts recompute-usage`: counts the usage of templates anew from the executions that the database still has, for when
 * the counts are doubted. Safe beside running replicas: it takes the rollup's lock and each tenant is one transaction.
 */
import type { Log } from "./base/log.ts";
import type { Config } from "./config.ts";
import { recomputeUsage } from "./engine/usage-rollup.ts";
import { clientConfig } from "./store/connection-config.ts";
import { findRunning, startEmbeddedPostgres } from "./store/embedded/embedded-postgres.ts";
import { migrateDatabase } from "./store/migrate.ts";
import { createUsageRollupStore } from "./store/usage-rollup-store.ts";

export async function runRecomputeUsage(config: Config, log: Log): Promise<string> {
  const folder = `${config.dataDir}/pg`;
  const running = config.databaseUrl === undefined ? await findRunning(folder) : undefined;
  const own = config.databaseUrl === undefined && !running ? await startEmbeddedPostgres({ dataDir: folder, durable: true, exclusive: true, log }) : undefined;
  try {
    const url = config.databaseUrl ?? running?.databaseUrl ?? (own?.databaseUrl as string);
    await migrateDatabase(url, { log });
    const retentionMsMax = config.retentionDays === undefined ? undefined : config.retentionDays * 86_400_000;
    const counted = await recomputeUsage(createUsageRollupStore(clientConfig(url, "pawf-recompute-usage")), retentionMsMax);
    return [...counted].map(([tenantId, cells]) => `${tenantId}: ${cells} cells of one version and hour were counted anew\n`).join("");
  } finally {
    await own?.stop();
  }
}
