// A file of its own, so that it is loaded on use, and by a name: `import()` of a package's default differs between the builds.
export { default as stringWidth } from "string-width";
