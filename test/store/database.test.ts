import { expect, it } from "vitest";
import { silentLog } from "../../src/base/log.ts";
import { openDatabase } from "../../src/store/database.ts";
import { createDatabase } from "../support/postgres.ts";
import { until } from "./journal-fixture.ts";

it("closing ends every connection, also when nothing was asked through the ORM", async () => {
  const place = await createDatabase();
  const looker = await openDatabase({ connection: place.connection, poolMax: 1, log: silentLog, applicationName: "looks-on" });
  const database = await openDatabase({ connection: place.connection, poolMax: 3, log: silentLog, applicationName: "closes" });
  await Promise.all([1, 2, 3].map(() => database.pool.query("select pg_sleep(0.05)")));
  await Promise.all([database.close(), database.close()]);
  expect([database.pool.ended, database.pool.totalCount]).toEqual([true, 0]);
  await until(looker, "not exists (select from pg_stat_activity where application_name = 'closes')");
  await looker.close();
  await place.drop();
});
