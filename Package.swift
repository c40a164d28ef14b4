// swift-tools-version:6.1
import PackageDescription

let package = Package(
    name: "keel",
    dependencies: [
        .package(url: "https://github.com/apple/swift-atomics", from: "1.3.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    ],
    targets: [
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        .target(name: "CDuckDB", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "COnnxRuntime", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CGradientBoosting", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "Engines", dependencies: ["Contracts", "CDuckDB", "COnnxRuntime", "CGradientBoosting"]),
        .target(name: "Storage", dependencies: ["Contracts", .product(name: "GRDB", package: "GRDB.swift")]),
        .target(name: "Serving", dependencies: ["Contracts", "Engines", "Storage", .product(name: "Atomics", package: "swift-atomics")]),
        .testTarget(name: "ServingTests", dependencies: ["Serving", "Contracts", "Storage", "Engines"]),
    ],
    swiftLanguageModes: [.v6]
)
