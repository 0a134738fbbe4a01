/** Applies migrations with the ORM's migrator; loaded only when some are missing, as most starts find none. */
import { Migration, Migrator } from "@mikro-orm/migrations";
import { MikroORM } from "@mikro-orm/postgresql";
import type { DatabaseTarget } from "./connection-config.ts";
import { ormOptions } from "./database.ts";

export interface SqlMigration {
  readonly name: string;
  readonly sql: string;
}

/** In one transaction; answers with the names that were missing, oldest first. */
export async function applyMigrations(target: DatabaseTarget, migrations: readonly SqlMigration[], applicationName: string): Promise<string[]> {
  const base = ormOptions(target, { poolMax: 2, applicationName });
  const orm = new MikroORM({
    ...base,
    extensions: [Migrator],
    migrations: { ...base.migrations, migrationsList: migrations.map(toClass) },
  });
  try {
    return (await orm.migrator.up()).map(({ name }) => name);
  } finally {
    await orm.close(true);
  }
}

function toClass({ name, sql }: SqlMigration) {
  return {
    name,
    class: class extends Migration {
      override up(): void {
        this.addSql(sql);
      }
    },
  };
}
