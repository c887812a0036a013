// Proves the claim of kofn.circom with snarkjs and prints the processor time of witness and
// proof together. README.md says what has to be there.
import { readFileSync } from "node:fs";
import * as snarkjs from "snarkjs";
import { buildPoseidon } from "circomlibjs";

const n = 60, packed = 15, bits = 16n;
const poseidon = await buildPoseidon();
const v = Array.from({ length: n }, (_, i) => 55 + (i % 30));
let hash = poseidon.F.e(99n);
for (let at = 0; at < n; at += packed) {
  const element = v.slice(at, at + packed).reduceRight((sum, x) => (sum << bits) + BigInt(x), 0n);
  hash = poseidon([hash, poseidon.F.e(element)]);
}
const input = {
  root: poseidon.F.toObject(hash).toString(), lo: 50, hi: 90, k: n - 10, nonce: 1234, salt: 99, v, counted: v.map(() => 1),
};
const key = JSON.parse(readFileSync("build/key.json", "utf8"));
for (let i = 0; i < 5; i++) {
  const before = process.cpuUsage(), start = Date.now();
  const { proof, publicSignals } = await snarkjs.groth16.fullProve(input, "build/kofn_js/kofn.wasm", "build/kofn.zkey");
  const used = process.cpuUsage(before), wall = Date.now() - start;
  if (!(await snarkjs.groth16.verify(key, publicSignals, proof))) throw new Error("the proof does not verify");
  console.log(`snarkjs: proof in ${Math.round((used.user + used.system) / 1000)} ms of processor time, ${wall} ms`);
}
process.exit(0);
