// @ts-check
// A worker that computes the outlines of sounds.

import { computePeaks } from "./peaks.js";

onmessage = ({ data: { channels, size } }) => postMessage(computePeaks(channels, size));
