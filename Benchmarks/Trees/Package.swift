// swift-tools-version:6.1
import PackageDescription

// A package of its own, so that neither `swift build` nor CI of the project builds it. `Benchmarks/compare serving` does, on demand.
let package = Package(
    name: "trees",
    dependencies: [.package(name: "keel", path: "../..")],
    targets: [.executableTarget(name: "trees-benchmark", dependencies: [.product(name: "Engines", package: "keel")], path: ".", sources: ["main.swift"])])
