/** The one place that the configuration names for master keys. */
export type MasterKeyPlace =
  | { readonly kind: "text"; readonly from: string; readonly text: string }
  | { readonly kind: "file"; readonly from: string; readonly path: string }
  | {
      readonly kind: "command";
      readonly from: string;
      readonly command: string;
      readonly environment: NodeJS.ProcessEnv;
    }
  /** A credential that systemd gives to a service: a file that only systemd writes. */
  | { readonly kind: "credential"; readonly path: string }
  /** Created when the first key is sealed. */
  | { readonly kind: "default-file"; readonly path: string };
