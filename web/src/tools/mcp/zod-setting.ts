/**
 * Before the SDK's schemas are made: zod would try to make code of them, which the page's policy
 * forbids and browsers report.
 */
import { config } from "zod/v4/core";

config({ jitless: true });
