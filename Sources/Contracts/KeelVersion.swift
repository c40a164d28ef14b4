/// The version of this build.
public enum KeelVersion {
    public static let text = "0.1.0"
}
