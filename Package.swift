// swift-tools-version:6.1
import PackageDescription

let package = Package(
    name: "keel",
    dependencies: [
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0")
    ],
    targets: [
        // ground
        .target(name: "Contracts", dependencies: [.product(name: "Crypto", package: "swift-crypto")]),
        // engines
        .target(name: "CDuckDB", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "COnnxRuntime", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CGradientBoosting", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "Engines", dependencies: ["Contracts", "CDuckDB", "COnnxRuntime", "CGradientBoosting"]),
        // domain
        .target(name: "FeatureStore", dependencies: ["Contracts", "Engines"]),
        .testTarget(name: "FeatureStoreTests", dependencies: ["FeatureStore", "Contracts", "Engines"]),
    ],
    swiftLanguageModes: [.v6]
)
