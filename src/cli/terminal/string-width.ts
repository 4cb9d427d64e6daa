// A separate file, so that it is loaded on use and by name: `import()` of a package's default export differs between the builds.
export { default as stringWidth } from "string-width";
