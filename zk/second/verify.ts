// A second verifier of claims, apart from Vitalveil's program: Groth16 over BN254 with one
// commitment and its proof of knowledge (Bowe-Gabizon style, as gnark 0.16 has it), on the
// pairing of noble-curves. It takes what `vitalveil verify-proof --export` writes.
//
// It says that whoever made the proof knew readings that open the days of the statement's
// digest and meet its bounds, if the key is one that a network accepted: compare its hash.
// It does not say who committed the days, nor that the digest is that of certain roots.
import { bn254 } from "@noble/curves/bn254";
import { hash_to_field } from "@noble/curves/abstract/hash-to-curve";
import { sha256 } from "@noble/hashes/sha2";

const { Fp, Fp2, Fp12, Fr } = bn254.fields;
const G1 = bn254.G1.ProjectivePoint;
const G2 = bn254.G2.ProjectivePoint;
type PointG1 = InstanceType<typeof G1>;
type PointG2 = InstanceType<typeof G2>;

export interface Claim {
  class: string;
  verifying_key: string; // base64
  key_hash: string;
  statement: Record<string, string | number>;
  proof: string; // base64
}

const PUBLIC_INPUTS = 16;
const PROOF_BYTES = 196;
const CODES = 640;
const DAYS: Record<string, number> = { day: 1, week: 7 };

class Reader {
  private at = 0;
  constructor(private readonly bytes: Uint8Array) {}

  take(n: number): Uint8Array {
    if (this.at + n > this.bytes.length) throw new Error("it is too short");
    return this.bytes.subarray(this.at, (this.at += n));
  }
  count(want: number): void {
    if (number(this.take(4)) !== BigInt(want)) throw new Error("a count is not that of a predicate circuit");
  }
  end(): void {
    if (this.at !== this.bytes.length) throw new Error("bytes follow it");
  }
  // Compressed points have the flag 10 where the smaller y is meant, 11 for the larger.
  g1(): PointG1 {
    const [flags, b] = unflagged(this.take(32));
    const x = canonical(Fp.ORDER, number(b));
    const y = Fp.sqrt(Fp.add(Fp.mul(Fp.sqr(x), x), 3n));
    return valid(G1.fromAffine({ x, y: larger(y) === flags ? y : Fp.neg(y) }));
  }
  g2(): PointG2 {
    const [flags, b] = unflagged(this.take(64));
    const x = { c1: canonical(Fp.ORDER, number(b.subarray(0, 32))), c0: canonical(Fp.ORDER, number(b.subarray(32))) };
    const twist = Fp2.div(Fp2.fromBigTuple([3n, 0n]), Fp2.fromBigTuple([9n, 1n]));
    const y = Fp2.sqrt(Fp2.add(Fp2.mul(Fp2.sqr(x), x), twist));
    const high = y.c1 === 0n ? larger(y.c0) : larger(y.c1);
    const point = valid(G2.fromAffine({ x, y: high === flags ? y : Fp2.neg(y) }));
    if (!point.multiplyUnsafe(Fr.ORDER - 1n).equals(point.negate())) throw new Error("a point is not in its subgroup");
    return point;
  }
}

function unflagged(bytes: Uint8Array): [boolean, Uint8Array] {
  const b = bytes.slice();
  const flags = b[0] >> 6;
  b[0] &= 0x3f;
  if (flags < 2) throw new Error("a point is not compressed, or is the identity");
  return [flags === 3, b];
}

const larger = (y: bigint): boolean => y > (Fp.ORDER - 1n) / 2n;
const number = (b: Uint8Array): bigint => b.reduce((n, x) => (n << 8n) | BigInt(x), 0n);

function canonical(order: bigint, n: bigint): bigint {
  if (n >= order) throw new Error("a number is not below its field's order");
  return n;
}

function valid<P extends PointG1 | PointG2>(p: P): P {
  p.assertValidity();
  return p;
}

function bytesOf(n: bigint): Uint8Array {
  return Uint8Array.from(n.toString(16).padStart(64, "0").match(/../g)!, (h) => parseInt(h, 16));
}

// key reads a verifying key of a predicate circuit: exactly 16 public inputs and one
// commitment, whose challenge is hashed over some of the inputs as well.
function key(bytes: Uint8Array) {
  const r = new Reader(bytes);
  const alpha = r.g1();
  r.g1(); // beta and delta in G1 are for provers
  const beta = r.g2(), gamma = r.g2();
  r.g1();
  const delta = r.g2();
  r.count(PUBLIC_INPUTS + 2);
  const k = Array.from({ length: PUBLIC_INPUTS + 2 }, () => r.g1());
  r.count(1);
  const hashed = Array.from({ length: Number(number(r.take(4))) % (PUBLIC_INPUTS + 1) }, () => Number(number(r.take(8))));
  if (hashed.some((i) => i < 1 || i > PUBLIC_INPUTS)) throw new Error("it hashes an input that there is not");
  r.count(1);
  const base = r.g2(), sigmaNegative = r.g2();
  r.end();
  return { alpha, beta, gamma, delta, k, hashed, base, sigmaNegative };
}

function proofOf(bytes: Uint8Array) {
  if (bytes.length !== PROOF_BYTES) throw new Error(`a proof has ${PROOF_BYTES} bytes`);
  const r = new Reader(bytes);
  const a = r.g1(), b = r.g2(), c = r.g1();
  r.count(1);
  const commitment = r.g1(), knowledge = r.g1();
  r.end();
  return { a, b, c, commitment, knowledge };
}

// inputs are the public inputs in the circuit's order, of a statement that could not hold
// without data. What codes a metric has, this does not know; none has CODES of them.
function inputs(s: Claim["statement"], days: number): bigint[] {
  const hex = (name: string): bigint => {
    if (!/^[0-9a-f]{64}$/.test(String(s[name]))) throw new Error(`${name} is not 32 bytes in hexadecimal`);
    return canonical(Fr.ORDER, BigInt("0x" + s[name]));
  };
  const within = (name: string, least: number, most: number): bigint => {
    const n = s[name];
    if (typeof n !== "number" || !Number.isInteger(n) || n < least || n > most) throw new Error(`${name} is not within ${least}..${most}`);
    return BigInt(n);
  };
  const day = within("first_day", -719162, 2932896 - days + 1) + (1n << 31n);
  const hours = within("hour_mask", 1, (1 << 24) - 1);
  const minutes = 60 * hours.toString(2).replaceAll("0", "").length;
  const all = [
    hex("data_digest"), hex("binding"), within("slot", 0, 15), day, hours, within("lo", 1, CODES - 1), within("hi", 1, CODES - 1),
    within("k", 0, minutes), within("out_max", 0, 1440), within("min_count", 0, minutes), within("day_k", 1, days),
    within("mean_lo", 0, CODES), within("mean_hi", 1, 65535), within("trend_lo", 0, (1 << 18) - 1), within("trend_hi", 0, (1 << 18) - 1),
    within("min_half", 0, 5040),
  ];
  const [lo, hi, k, , minCount, , meanLo, meanHi, trendLo, trendHi, minHalf] = all.slice(5);
  const bounded = (what: boolean, rests: bigint, name: string) => {
    if (what && rests < 1n) throw new Error(`${name} would hold without data`);
  };
  if (lo > hi || meanLo > meanHi || trendLo > trendHi) throw new Error("a lower bound is above the upper one");
  bounded(true, k > minCount ? k : minCount, "the statement");
  bounded(meanLo !== 0n || meanHi !== 65535n, minCount, "the mean");
  bounded(trendLo !== 0n || trendHi !== (1n << 18n) - 1n, minHalf, "the trend");
  return all;
}

// holds: Groth16's equation with the commitment among the public part, and the
// commitment's proof of knowledge.
function holds(vk: ReturnType<typeof key>, p: ReturnType<typeof proofOf>, x: bigint[]): boolean {
  const d = p.commitment.toAffine();
  const parts = [bytesOf(d.x), bytesOf(d.y), ...vk.hashed.map((i) => bytesOf(x[i - 1]))];
  const message = Uint8Array.from(parts.flatMap((b) => [...b]));
  const [[challenge]] = hash_to_field(message, 1, { DST: "bsb22-commitment", p: Fr.ORDER, m: 1, k: 128, expand: "xmd", hash: sha256 });
  let sum = vk.k[0].add(p.commitment);
  [...x, challenge].forEach((scalar, i) => {
    sum = sum.add(vk.k[i + 1].multiplyUnsafe(scalar));
  });
  const one = (pairs: [PointG1, PointG2][]) => Fp12.eql(bn254.pairingBatch(pairs.map(([g1, g2]) => ({ g1, g2 }))), Fp12.ONE);
  return (
    one([[p.a, p.b], [vk.alpha.negate(), vk.beta], [sum.negate(), vk.gamma], [p.c.negate(), vk.delta]]) &&
    one([[p.commitment, vk.sigmaNegative], [p.knowledge, vk.base]])
  );
}

const base64 = (text: string): Uint8Array => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
const hexOf = (b: Uint8Array): string => [...b].map((x) => x.toString(16).padStart(2, "0")).join("");

// verify throws with the reason unless the claim's proof holds under its key, whose hash
// must be the one given: that which the network accepted.
export function verify(claim: Claim, keyHash: string): void {
  const vk = base64(claim.verifying_key);
  if (vk.length > 4096 || hexOf(sha256(vk)) !== keyHash) throw new Error("the key is not the one whose hash was given");
  const days = DAYS[claim.class];
  if (!days) throw new Error(`there is no class ${claim.class}`);
  if (!holds(key(vk), proofOf(base64(claim.proof)), inputs(claim.statement, days))) throw new Error("the proof does not prove the statement");
}

// As a program: node dist/verify.js KEYHASH FILE...
const args = (globalThis as { process?: { argv: string[] } }).process?.argv.slice(2) ?? [];
if (args.length > 1) {
  const { readFileSync } = await import("node:fs");
  for (const path of args.slice(1)) {
    try {
      verify(JSON.parse(readFileSync(path, "utf8")), args[0]);
      console.log(`${path}: proven`);
    } catch (e) {
      console.log(`${path}: not proven: ${(e as Error).message}`);
    }
  }
}
