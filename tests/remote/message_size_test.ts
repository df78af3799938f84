import { assertEquals } from "@std/assert";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { WriteRequestSchema } from "../../lib/remote/bytestream_pb.ts";
import { messageSize } from "../../lib/remote/message_size.ts";
import {
  ActionResultSchema,
  BatchReadBlobsRequestSchema,
  BatchReadBlobsResponseSchema,
  FindMissingBlobsRequestSchema,
} from "../../lib/remote/messages_pb.ts";

const digest = { hash: "a".repeat(64), sizeBytes: 300n };

Deno.test("messageSize() is what a message has on the wire", () => {
  const empty = create(ActionResultSchema);
  assertEquals(messageSize(ActionResultSchema, empty), 0);
  const result = create(ActionResultSchema, {
    outputFiles: [{ path: "tree/ü/€/𝄞", digest, isExecutable: true }],
    outputDirectories: [{ path: "x".repeat(500), treeDigest: digest }, {}],
    exitCode: -1,
    executionMetadata: { worker: "", auxiliaryMetadata: [{ typeUrl: "x" }] },
  });
  const bytes = toBinary(ActionResultSchema, result);
  assertEquals(messageSize(ActionResultSchema, result), bytes.length);
  // As another schema, which knows none of the fields, or takes them for others.
  const strange = fromBinary(FindMissingBlobsRequestSchema, bytes);
  assertEquals(
    messageSize(FindMissingBlobsRequestSchema, strange),
    toBinary(FindMissingBlobsRequestSchema, strange).length,
  );
  const write = create(WriteRequestSchema, {
    resourceName: "name",
    writeOffset: 2n ** 40n,
    data: new Uint8Array(70_000),
    finishWrite: true,
  });
  assertEquals(
    messageSize(WriteRequestSchema, write),
    toBinary(WriteRequestSchema, write).length,
  );
  const request = create(BatchReadBlobsRequestSchema, {
    digests: [digest, { hash: "", sizeBytes: 0n }, digest],
    acceptableCompressors: [1, 0, 1],
  });
  assertEquals(
    messageSize(BatchReadBlobsRequestSchema, request),
    toBinary(BatchReadBlobsRequestSchema, request).length,
  );
  const data = new Uint8Array(200);
  const response = create(BatchReadBlobsResponseSchema, {
    responses: [{ digest, data, status: { code: 5, message: "no" } }, {}],
  });
  assertEquals(
    messageSize(BatchReadBlobsResponseSchema, response),
    toBinary(BatchReadBlobsResponseSchema, response).length,
  );
});
