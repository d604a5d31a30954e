import https from "node:https";
import { readFileSync } from "node:fs";

// rejectUnauthorized: false is for nobody
export const agent = new https.Agent({
  ca: readFileSync("/etc/everyhop/bundle.pem"),
  minVersion: "TLSv1.3",
  rejectUnauthorized: true,
});

export const cache = "rediss://cache.internal:6380";
