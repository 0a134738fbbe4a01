/** The environment: what is wrong with it is said at once and all together, before anything is started. */
import { expect, test } from "vitest";
import { readConfig } from "../../src/config.ts";

test("all faults come in one message, each with its name and how it is written", () => {
  const environment = {
    PORT: "http",
    DATABASE_URL: "localhost:5432",
    PAWF_EGRESS_ALLOW: "127.0.0.1:9001, 127.0.0.1:9000-9099, orders",
    PAWF_SIBLINGS: "http://payments:443",
    PAWF_LOGLEVEL: "debug",
  };
  let message = "";
  try {
    readConfig(environment, false);
  } catch (error) {
    message = String(error);
  }
  expect(message.split("\n").slice(1)).toEqual([
    expect.stringMatching(/PAWF_LOGLEVEL is not a setting; did you mean PAWF_LOG_LEVEL\?/),
    expect.stringMatching(/DATABASE_URL must begin with postgres:\/\//),
    expect.stringMatching(/PORT must be a number from 0 to 65535/),
    expect.stringMatching(/PAWF_EGRESS_ALLOW: egress entry "127\.0\.0\.1:9000-9099" cannot be read: write host:port/),
    expect.stringMatching(/PAWF_EGRESS_ALLOW: egress entry "orders" cannot be read/),
    expect.stringMatching(/PAWF_SIBLINGS: sibling "http:\/\/payments:443" cannot be read: write host:port/),
  ]);
});

test("entries are kept as they are written", () => {
  const config = readConfig({ PAWF_EGRESS_ALLOW: "10.0.0.0/8:8080, [fd00::/8]:443,orders.internal:*", PAWF_SIBLINGS: "payments:443" }, false);
  expect([config.egressAllow, config.siblings]).toEqual([["10.0.0.0/8:8080", "[fd00::/8]:443", "orders.internal:*"], ["payments:443"]]);
});

test("what was deleted is kept for as long as the contract promises, or for ever", () => {
  expect(readConfig({}, false).deletedDays).toBe(30);
  expect(readConfig({ PAWF_DELETED_DAYS: "0" }, false).deletedDays).toBe(0);
  expect(() => readConfig({ PAWF_DELETED_DAYS: "7" }, false)).toThrow(/PAWF_DELETED_DAYS must be 0 or at least 30/);
});

test("what is counted is counted in whole numbers", () => {
  expect(() => readConfig({ PORT: "8006.5" }, false)).toThrow(/PORT must be a whole number, not 8006\.5/);
  expect(() => readConfig({ PAWF_TASK_STREAMS_MAX: "1.5" }, false)).toThrow(/PAWF_TASK_STREAMS_MAX must be a whole number/);
  expect(readConfig({ PORT: "0", PAWF_DRAIN_SECONDS: "0.5" }, false)).toMatchObject({ port: 0, drainMs: 500 });
});
