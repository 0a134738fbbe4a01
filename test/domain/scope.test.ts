/** What an expression sees of an execution is that of the moment, though most of it is put together once. */
import { expect, it } from "vitest";
import { applyEvent } from "../../src/domain/execution.ts";
import { emptyExecution } from "../../src/domain/execution-state.ts";
import { scopeOf } from "../../src/domain/scope.ts";
import { compile, simulate } from "./simulate.ts";

it("a start and another input, revision or identity are seen at once", () => {
  const revision = compile({ steps: [{ name: "a", log: { message: "hello" } }] });
  const [created, started] = simulate(revision).ledger;
  const state = emptyExecution({ executionId: "exe_1", tenantId: "acme" });
  if (!created || !started) throw new Error("an execution begins with two events");
  applyEvent(state, created);
  const before = scopeOf(state, revision, "a");
  expect(before).toMatchObject({ execution_id: "exe_1", tenant_id: "acme", steps: { a: { status: "pending" } } });
  expect(before["now"]).toBe(new Date(state.createdAt).toISOString());
  applyEvent(state, { ...started, at: state.createdAt + 5_000 });
  expect(scopeOf(state, revision, "a")["now"]).toBe(new Date(state.createdAt + 5_000).toISOString());
  if (state.info) state.info = { ...state.info, revision: 7, input: { other: true } };
  expect(scopeOf(state, revision, "a")).toMatchObject({ workflow: { revision: 7 }, trigger: { data: { other: true } } });
  const twin = emptyExecution({ executionId: "exe_2", tenantId: "rival" });
  applyEvent(twin, created);
  expect(scopeOf(twin, revision, "")).toMatchObject({ execution_id: "exe_2", tenant_id: "rival" });
});
