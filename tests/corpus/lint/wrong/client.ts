import https from "node:https";

process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0";
const agent = new https.Agent({ rejectUnauthorized: false, minVersion: "TLSv1.1" });
const loose = { checkServerIdentity: () => undefined, secureProtocol: "TLSv1_method" };
const cache = `redis://:${password}@cache.internal:6379`;
