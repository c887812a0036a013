pragma circom 2.1.6;
include "circomlib/circuits/bitify.circom";
include "circomlib/circuits/poseidon.circom";

// At least k of n committed readings are within [lo, hi]: the claim of main.go.
template AtLeastKOf(n, packed, bits) {
    signal input root; signal input lo; signal input hi; signal input k; signal input nonce;
    signal input salt; signal input v[n]; signal input counted[n];

    component size[n]; component above[n]; component below[n];
    signal over[n]; signal under[n];
    var count = 0;
    for (var i = 0; i < n; i++) {
        size[i] = Num2Bits(bits); size[i].in <== v[i];
        counted[i] * (counted[i] - 1) === 0;
        over[i] <== counted[i] * (v[i] - lo);
        under[i] <== counted[i] * (hi - v[i]);
        above[i] = Num2Bits(bits); above[i].in <== over[i];
        below[i] = Num2Bits(bits); below[i].in <== under[i];
        count += counted[i];
    }

    component hash[n \ packed];
    signal chain[n \ packed + 1];
    chain[0] <== salt;
    for (var e = 0; e < n \ packed; e++) {
        var element = 0;
        for (var i = 0; i < packed; i++) { element += v[e * packed + i] * (1 << (bits * i)); }
        hash[e] = Poseidon(2); hash[e].inputs[0] <== chain[e]; hash[e].inputs[1] <== element;
        chain[e + 1] <== hash[e].out;
    }
    root === chain[n \ packed];
    component enough = Num2Bits(bits); enough.in <== count - k;
    signal bound; bound <== nonce * nonce;
}

component main {public [root, lo, hi, k, nonce]} = AtLeastKOf(60, 15, 16);
