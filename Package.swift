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
        .testTarget(name: "ContractsTests", dependencies: ["Contracts"]),
        // engines: C shims that load native libraries at run time, and their Swift faces
        .target(name: "CDuckDB", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "COnnxRuntime", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "CGradientBoosting", linkerSettings: [.linkedLibrary("dl")]),
        .target(name: "Engines", dependencies: ["Contracts", "CDuckDB", "COnnxRuntime", "CGradientBoosting"]),
        .testTarget(name: "EnginesTests", dependencies: ["Engines", "Contracts"]),
    ],
    swiftLanguageModes: [.v6]
)
