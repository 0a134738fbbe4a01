import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { expect, it } from "vitest";

const filesOf = (name: string) => {
  const { file } = fromBinary(FileDescriptorSetSchema, readFileSync(new URL(`../../${name}`, import.meta.url)));
  return new Map(file.map(({ sourceCodeInfo: _, ...rest }) => [rest.name, rest]));
};

it("the Python package carries the contract as it is (npm run generate makes both)", () => {
  const [whole, carried] = [filesOf("gen/descriptors.binpb"), filesOf("sdk/python/pyairtable_workflow/contract.binpb")];
  expect([...carried.keys()].sort()).toEqual([...whole.keys()].sort());
  for (const [name, file] of whole) expect(carried.get(name), name).toEqual(file);
});
