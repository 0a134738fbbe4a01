/** Ground and first floors: the database, what is stored in it, and what steps reach the world with. */
import { messageOf } from "../base/errors.ts";
import { systemIds } from "../base/ids.ts";
import { LeftOut } from "../base/left-out.ts";
import { createMasterKeys } from "../base/master-keys.ts";
import { blockTypes } from "../domain/block-types.ts";
import type { StepTypes } from "../domain/step-type.ts";
import { deriveSecrets, readMasterKeys } from "../first-key.ts";
import { readBuiltIns } from "../prebuilt-library.ts";
import { TrustedKeys } from "../rpc/api-keys.ts";
import { OpenKeys } from "../rpc/open-keys.ts";
import { openSharedRedis, redisTargets } from "../shared-redis.ts";
import { createHttpEgress } from "../steps/egress/http-egress.ts";
import { createSavedStepTypes } from "../steps/egress/saved-step-types.ts";
import { createGrpcEgress } from "../steps/grpc-client/create-grpc-egress.ts";
import { createSmtpMailer, noMail } from "../steps/notify/smtp-mailer.ts";
import { stepHandlers } from "../steps/registry.ts";
import { storeBuiltIns } from "../store/built-in-templates.ts";
import { addressesOf, openDatabase } from "../store/database.ts";
import { checkDurability } from "../store/durability.ts";
import { joinEmbeddedPostgres, startEmbeddedPostgres } from "../store/embedded/embedded-postgres.ts";
import { createExecutionRepository } from "../store/execution-repository.ts";
import { createFileRepository } from "../store/file-repository.ts";
import { createKeyRepository } from "../store/key-repository.ts";
import { migrateDatabase } from "../store/migrate.ts";
import { createS3Storage } from "../store/object-storage.ts";
import { createSecretRepository } from "../store/secret-repository.ts";
import { findEgressAllow } from "../store/sql/find-egress-allow.ts";
import { createTemplateRepository } from "../store/template-repository.ts";
import { createWorkflowRepository } from "../store/workflow-repository.ts";
import { createTenantKeys, readRootKey } from "../store/wrapped-keys.ts";
import type { Site } from "./site.ts";

/** Connections of one replica besides the journal's two and the lease's one. */
export const poolMax = 10;

export type Ground = Awaited<ReturnType<typeof buildGround>>;

/** `onPayload` hears what other replicas publish in a shared Redis. */
export async function buildGround({ config, log, clock, instruments, onStop }: Site, onPayload: (payload: string) => void) {
  const joined = config.databaseUrl === undefined ? undefined : await joinEmbeddedPostgres({ databaseUrl: config.databaseUrl, log });
  const embedded =
    config.databaseUrl === undefined ? await startEmbeddedPostgres({ dataDir: `${config.dataDir}/pg`, durable: true, exclusive: true, log }) : joined;
  if (embedded) onStop(() => embedded.stop());
  const url = config.databaseUrl ?? (embedded?.databaseUrl as string);
  // Side by side: the derivation of the keys is slow on purpose, on a thread of its own.
  const texts = readMasterKeys(config, embedded !== undefined);
  const [migrated, masterTexts, masterKeys] = await Promise.all([migrateDatabase(url, { log }), texts, texts.then(createMasterKeys)]);
  const database = await openDatabase({ url, poolMax, log, applicationName: "pawf" });
  onStop(() => database.close());
  const risks = await checkDurability(database.pool);
  if (risks.length > 0 && !config.allowUnsafeDatabase) {
    throw new Error(
      `This PostgreSQL would lose acknowledged work in a crash: ${risks.join("; ")}. Change it, or set PAWF_ALLOW_UNSAFE_DATABASE=1 if that is wanted.`,
    );
  }

  // First floors: what is stored and what steps can do.
  const own = deriveSecrets(await readRootKey(database.pool, masterKeys, masterTexts[0]));
  const monotonic = (): number => clock.monotonic();
  const files = createFileRepository({
    pool: database.pool,
    ids: systemIds,
    objects: config.s3 && createS3Storage(config.s3),
    leftOut: new LeftOut({ work: "files", log, onLeftOut: (work) => instruments.rowsLeftOut.of(work).add() }),
  });
  const secrets = createSecretRepository({ pool: database.pool, keys: createTenantKeys(database.pool, masterKeys), monotonic, log });
  const keys = createKeyRepository(database);
  const trustedKeys = new TrustedKeys(clock);
  const openKeys = new OpenKeys({ keys, clock });
  const redis = await openSharedRedis({
    url: config.redisUrl,
    pool: database.pool,
    cacheKey: own.cacheKey,
    instruments,
    clock,
    log,
    onPayload,
  });
  onStop(() => redis.stop());
  const workflows = createWorkflowRepository(database, systemIds, redis.versions);
  const templates = createTemplateRepository(database, systemIds, redis.versions);
  const executions = createExecutionRepository(database);
  const builtIns = await readBuiltIns();
  await storeBuiltIns(database, builtIns);
  const egress = createHttpEgress({
    allow: config.egressAllow,
    forbiddenPorts: config.port === 0 ? [] : [config.port],
    forbidden: [...addressesOf(url), ...redisTargets(config.redisUrl)],
    tenantAllow: (tenantId) => findEgressAllow(database.pool, tenantId),
    log,
    clock,
  });
  onStop(() => egress.close());
  const grpcEgress = createGrpcEgress({ rulesOf: egress.rulesOf, log, clock });
  onStop(async () => grpcEgress.close());
  const mailer = config.smtp && createSmtpMailer(config.smtp);
  const mail = mailer ?? noMail;
  onStop(async () => mailer?.close());
  const stepTypes: StepTypes = new Map([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]);
  const stepTypesOf = createSavedStepTypes(stepTypes, egress.rulesOf);
  return {
    embedded,
    url,
    migrated,
    database,
    masterKeys,
    own,
    monotonic,
    files,
    secrets,
    keys,
    trustedKeys,
    openKeys,
    /** A key was revoked or rotated: nothing that was found before is trusted, and open calls end that it opens no more. */
    keyChanged: (keyId: string): void => {
      trustedKeys.forget(keyId);
      // Where it fails the regular look follows.
      openKeys.look(keyId).catch((error: unknown) => log.warn({ error: messageOf(error) }, "the look at a key is put off"));
    },
    /** The operator changed a tenant: what was known of it is read again, and open calls end if it is suspended. */
    tenantChanged: (tenantId: string): void => {
      trustedKeys.forgetTenant(tenantId);
      egress.forgetTenant(tenantId);
      openKeys.look().catch((error: unknown) => log.warn({ error: messageOf(error) }, "the look at the keys of open calls is put off"));
    },
    redis,
    workflows,
    templates,
    executions,
    builtIns,
    egress,
    grpcEgress,
    mail,
    stepTypes,
    stepTypesOf,
  };
}
