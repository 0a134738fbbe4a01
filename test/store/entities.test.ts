import { defineEntity, type EntitySchema, MikroORM, p } from "@mikro-orm/postgresql";
import { afterAll, beforeAll, expect, it } from "vitest";
import { ormOptions } from "../../src/store/database.ts";
import { allEntities } from "../../src/store/entities/all-entities.ts";
import { Tenant } from "../../src/store/entities/tenant.ts";
import { Workflow, workflowSchema } from "../../src/store/entities/workflow.ts";
import { openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
beforeAll(async () => {
  store = await openStore(2);
});
afterAll(() => store[Symbol.asyncDispose]());

async function differences(entities: readonly unknown[]): Promise<string> {
  const orm = new MikroORM({ ...ormOptions(store.place.connection, { poolMax: 1, applicationName: "compare" }), entities: entities as EntitySchema[] });
  try {
    return (await orm.schema.getUpdateSchemaSQL({ wrap: false })).trim();
  } finally {
    await orm.close();
  }
}

const without = (entity: unknown) => allEntities.filter((other) => other !== entity);

it("entities and migrated schema do not differ", async () => {
  expect(await differences(allEntities)).toBe("");
});

it("a table without an entity is noticed", async () => {
  expect(await differences(without(Workflow))).toMatch(/drop table .*"workflows"/);
});

it("a column, a type, a default, a check and a partial index that differ are noticed", async () => {
  const tenant = (properties: object) =>
    defineEntity({ name: "Tenant", tableName: "tenants", properties: { ...tenantProperties, ...properties } as typeof tenantProperties });
  const tenantProperties = {
    id: p.text().primary(),
    displayName: p.text().default(""),
    suspended: p.boolean().default(false),
    weight: p.integer().default(1),
    egressAllow: p.array().columnType("text[]").default([]),
    quotas: p.json().columnType("json").default("{}"),
    retentionMsMax: p.bigint("number").nullable(),
    createTime: p.datetime(3).defaultRaw("now()"),
    updateTime: p.datetime(3).defaultRaw("now()"),
  };
  expect(await differences([...without(Tenant), tenant({})])).toBe("");
  expect(await differences([...without(Tenant), tenant({ more: p.text().nullable() })])).toContain(`add "more" text`);
  expect(await differences([...without(Tenant), tenant({ displayName: p.integer().default(0) })])).toContain(`"display_name"`);
  expect(await differences([...without(Tenant), tenant({ suspended: p.boolean().default(true) })])).toContain("set default true");
  expect(await differences([...without(Tenant), tenant({ createTime: p.datetime(6).defaultRaw("now()") })])).toContain(`"create_time"`);

  const { properties } = workflowSchema.meta as unknown as { properties: Record<string, object> };
  const workflow = (changes: object, where: string) =>
    defineEntity({
      name: "Workflow",
      tableName: "workflows",
      uniques: [{ name: "workflows_name_key", properties: ["tenantId", "name"] as never, where }],
      indexes: [
        { name: "workflows_update_idx", properties: ["tenantId", "updateTime", "id"] as never },
        { name: "workflows_delete_idx", properties: ["deleteTime", "tenantId", "id"] as never, where: "delete_time is not null" },
      ],
      properties: { ...rebuilt(properties), ...changes } as never,
    });
  expect(await differences([...without(Workflow), workflow({}, "delete_time is null")])).toBe("");
  expect(await differences([...without(Workflow), workflow({}, "delete_time is not null")])).toContain("workflows_name_key");
  expect(await differences([...without(Workflow), workflow({ state: p.enum(["draft", "active"]) }, "delete_time is null")])).toContain("workflows_state_check");
});

/** The properties of the real entity, as builders take them. */
function rebuilt(properties: Record<string, object>): Record<string, unknown> {
  const texts = ["name", "etag"];
  const empty = ["displayName", "description"];
  return Object.fromEntries(
    Object.keys(properties).map((name) => {
      if (name === "tenantId") return [name, p.text().primary()];
      if (name === "id") return [name, p.uuid().primary()];
      if (texts.includes(name)) return [name, p.text()];
      if (empty.includes(name)) return [name, p.text().default("")];
      if (name === "state") return [name, p.enum(["draft", "active", "paused", "deleted"])];
      if (name === "pausedStarts") return [name, p.text().default("queue")];
      if (name === "pauseReason") return [name, p.text().default("")];
      if (name.endsWith("Revision")) return [name, p.integer().default(0)];
      if (name === "deleteTime") return [name, p.datetime(3).nullable()];
      if (name.endsWith("Time")) return [name, p.datetime(3).defaultRaw("now()")];
      return [name, p.json().defaultRaw("'{}'")];
    }),
  );
}
